"""One image of a data set as a sample of FiftyOne: which fields there are, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from uda4inst.classes import EIGHT, NUM_THINGS, SEMANTIC_CLASSES, THING_CLASSES, ThingClasses
from uda4inst.colors import CLASS_COLORS
from workbench.sessions.convert import IGNORED, MASK_TARGETS, detection
from workbench.sessions.library import fo
from workbench.sessions.reading import GROUND_TRUTH, ReadImage
from workbench.sessions.request import OpenSide
from workbench.sessions.things import count_field, things_of

IGNORED_REGIONS: Final = "ignored"
SEMANTIC: Final = "semantic"

_FIELDS: Final[Mapping[str, tuple[type[fo.Field], str]]] = {
    "image_name": (fo.StringField, "The image as its data set calls it, in the project's words."),
    "domain": (fo.StringField, "source or target."),
    "split": (fo.StringField, "Which part of its data set."),
    "labels": (fo.StringField, "What its labels are: ground truth, diagnostics or none."),
    "objects": (fo.IntField, "Objects that training learns from."),
}
# Of points and tags: told apart also by people who do not see red and green as different.
DOMAIN_COLORS: Final[Mapping[str, str]] = {
    "source": "#3d9be9",
    "target": "#e69f00",
    "S2T": "#cc79a7",
    "T2S": "#f0e442",
}
_OF_OBJECTS: Final[Mapping[str, type[fo.Field]]] = {
    "area": fo.IntField,  # visible pixels
    "occlusion": fo.FloatField,  # hidden share, in [0, 1]
    "truncation": fo.FloatField,  # share outside the picture, in [0, 1]
    "learned": fo.BooleanField,  # False where the configuration's filters ignore it
}


def declare_fields(dataset: fo.Dataset) -> None:
    """Declare all fields at once: none is looked for sample by sample; again is harmless."""
    for name, (kind, description) in _FIELDS.items():
        dataset.add_sample_field(name, kind, description=description)
    document = fo.DynamicEmbeddedDocument
    dataset.add_sample_field("counts", fo.EmbeddedDocumentField, embedded_doc_type=document)
    things = things_of(dataset)
    for name in things.names:
        dataset.add_sample_field(count_field(name), fo.IntField)
    for field in (GROUND_TRUTH, IGNORED_REGIONS):
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    for name, kind in _OF_OBJECTS.items():
        dataset.add_sample_field(f"{GROUND_TRUTH}.detections.{name}", kind)
    dataset.add_sample_field(SEMANTIC, fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    dataset.mask_targets = {SEMANTIC: dict(MASK_TARGETS)}
    dataset.classes = {GROUND_TRUTH: list(things.names)}
    dataset.app_config.color_scheme = _colors(things)
    dataset.save()


def _colors(things: ThingClasses) -> fo.ColorScheme:
    """Return the colours of classes, which are Cityscapes', and of domains."""
    classes = [{"intTarget": c.train_id + 1, "color": hex_color(c.color)} for c in SEMANTIC_CLASSES]
    domains = [{"value": name, "color": color} for name, color in DOMAIN_COLORS.items()]
    return fo.ColorScheme(
        color_by="value",
        fields=[
            class_colors(GROUND_TRUTH, things),
            {"path": IGNORED_REGIONS, "fieldColor": "#808080"},
            {"path": SEMANTIC, "maskTargetsColors": classes},
            {"path": "domain", "colorByAttribute": "value", "valueColors": domains},
        ],
    )


def class_colors(path: str, things: ThingClasses = EIGHT) -> dict[str, object]:
    """Return the entry of a colour scheme that shows the objects of a field in Cityscapes' colours.

    Args:
        path: the field.
        things: the classes; those beside the eight have the colours of the pages.
    """
    colors = (*(c.color for c in THING_CLASSES), *CLASS_COLORS[NUM_THINGS:])
    named = zip(things.names, colors, strict=False)
    values = [{"value": name, "color": hex_color(color)} for name, color in named]
    return {"path": path, "colorByAttribute": "label", "valueColors": values}


def hex_color(color: tuple[int, int, int]) -> str:
    """Return a colour as pages and FiftyOne write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def to_sample(side: OpenSide, image: ReadImage, tags: Mapping[str, list[str]]) -> fo.Sample:
    """Return an image with its labels.

    Args:
        side: where it comes from.
        image: what was read of it.
        tags: that images had, by `tag_key`.
    """
    record = side.tree.records[image.index]
    domain = side.side.domain
    height, width = image.size
    sample = fo.Sample(
        filepath=str(record.image.absolute()),
        tags=tags.get(tag_key(domain, record.sample_id), []),
        metadata=fo.ImageMetadata(
            size_bytes=image.file_bytes, width=width, height=height, num_channels=3
        ),
        image_name=record.sample_id,
        domain=domain,
        split=side.tree.split,
        labels=side.labels,
    )
    if image.semantic is not None:
        sample[SEMANTIC] = fo.Segmentation(mask_path=str(image.semantic.absolute()))
    if image.objects is not None:
        _add_objects(sample, image, side.tree.thing_classes)
    return sample


def _add_objects(sample: fo.Sample, image: ReadImage, things: ThingClasses) -> None:
    """Add instances, ignored pixels and counts."""
    objects, ignored = image.objects or (), image.ignored
    sample[GROUND_TRUTH] = fo.Detections(
        detections=[
            detection(
                things.names[one.thing],
                one.mask,
                image.size,
                mask_file=one.mask_file,
                area=one.mask.area,
                occlusion=one.occlusion,
                truncation=one.truncation,
                learned=one.is_learned,
            )
            for one in objects
        ]
    )
    regions = [] if ignored is None or not ignored.mask.size else [ignored]
    sample[IGNORED_REGIONS] = fo.Detections(
        detections=[detection(IGNORED, mask, image.size) for mask in regions]
    )
    counts = [0] * len(things)
    for one in objects:
        counts[one.thing] += one.is_learned
    sample["objects"] = sum(counts)
    fields = (count_field(name).partition(".")[2] for name in things.names)
    sample["counts"] = fo.DynamicEmbeddedDocument(**dict(zip(fields, counts, strict=True)))


def tag_key(*names: str) -> str:
    """Return how an image is found again in another build; keys of MongoDB have no dots."""
    return "/".join(names).replace("%", "%25").replace(".", "%2e").replace("$", "%24")


def tags_of(
    images: fo.Dataset | fo.DatasetView, named_by: Sequence[str] = ("domain", "image_name")
) -> dict[str, list[str]]:
    """Return the tags of every image that has some, by `tag_key` of some of its fields."""
    if not len(images) or not all(images.has_sample_field(name) for name in named_by):
        return {}
    tagged = images.match(fo.ViewField("tags").length() > 0)
    *names, tags = tagged.values([*named_by, "tags"])
    return {tag_key(*own): list(t) for *own, t in zip(*names, tags, strict=True)}
