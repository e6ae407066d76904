"""One image of a snapshot as a sample of FiftyOne: which fields there are, and what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from uda4inst.classes import THING_NAMES, ThingClasses
from uda4inst.colors import DROPPED_COLOR, IGNORED_OBJECT_COLOR, ORIGIN_COLORS
from uda4inst.run_folder.metrics import flat_numbers
from uda4inst.structures import Labels
from workbench.sessions.convert import detection
from workbench.sessions.library import fo
from workbench.sessions.reading import GROUND_TRUTH
from workbench.sessions.samples import class_colors, hex_color, tag_key
from workbench.sessions.seen.images import (
    DETECTIONS,
    DROPPED,
    EGO_VEHICLE,
    HEATMAPS,
    IGNORED,
    IGNORED_REGION,
    INSTANCES,
    KEPT,
    ORIGIN_WORDS,
    ORIGINS,
    PSEUDO_LABELS,
    field_name,
)
from workbench.sessions.seen.pixel_fields import declare_pixel_fields
from workbench.sessions.seen.reading import StoredImage, StoredSnapshot
from workbench.sessions.seen.request import Metrics
from workbench.sessions.things import things_of
from workbench.stores.groups import group_text

COUNTS: Final = "counts"
METRICS: Final = "metrics"
_FIELDS: Final[Mapping[str, tuple[type[fo.Field], str]]] = {
    "place": (fo.StringField, "Step, kind and position: the image's own name in this data set."),
    "domain": (fo.StringField, "source, target, S2T, T2S or pool."),
    "image_name": (fo.StringField, "The image it is, or that others are pasted into."),
    "partner": (fo.StringField, "The image that is pasted."),
    "snapshot": (fo.StringField, "The snapshot it belongs to; of none where it waits in the pool."),
    "group": (fo.StringField, "Classes of the network, in a run of several."),
    "step": (fo.IntField, "The step that was trained on it."),
    "stage": (fo.IntField, "1 or 2."),
    "method": (fo.StringField, "Of the stage."),
    "item": (fo.IntField, "Position in the batch, from 1."),
    "labels": (fo.StringField, "What its ground truth is: diagnostics or none."),
    "objects": (fo.IntField, "Objects trained on; of target crops, pseudo-labels."),
    "pool_share": (fo.FloatField, "Share of the image that comes from the pool."),
    "entered": (fo.IntField, "The step at which it entered the pool."),
    "times_drawn": (fo.IntField, "How often it was pasted, when last seen in the pool."),
    "area": (fo.IntField, "Its pixels."),
}
_REGIONS: Final = (IGNORED_REGION, EGO_VEHICLE)
_OBJECT_FIELDS: Final = (INSTANCES, PSEUDO_LABELS, DETECTIONS, *_REGIONS, GROUND_TRUTH)
_JUDGED: Final[Mapping[str, type[fo.Field]]] = {
    "true_iou": fo.FloatField,  # with an object of its class
    "verdict": fo.StringField,  # right, wrong, not judged
}
_OF_OBJECTS: Final[Mapping[str, Mapping[str, type[fo.Field]]]] = {
    INSTANCES: {"area": fo.IntField, "origin": fo.StringField},
    PSEUDO_LABELS: {"area": fo.IntField, **_JUDGED},
    DETECTIONS: {
        "class_score": fo.FloatField,
        "mask_score": fo.FloatField,
        "valid_share": fo.FloatField,
        "status": fo.StringField,
        "cause": fo.StringField,
        "area": fo.IntField,
        **_JUDGED,
    },
    GROUND_TRUTH: {"area": fo.IntField},
}
_COUNTS: Final = {
    "detection_counts": (KEPT, IGNORED, DROPPED),
    "origin_counts": tuple(ORIGIN_WORDS.values()),
}
_LISTS: Final = ("held_at", "drawn_at")  # of a pool entry: snapshots, and times drawn by then


def declare_fields(dataset: fo.Dataset, labels: Labels) -> None:
    """Declare all fields at once; again is harmless.

    Args:
        dataset: of what training saw.
        labels: what the run learns.
    """
    for name, (kind, description) in _FIELDS.items():
        dataset.add_sample_field(name, kind, description=description)
    for name in _LISTS:
        dataset.add_sample_field(name, fo.ListField, subfield=fo.IntField)
    document = fo.DynamicEmbeddedDocument
    dataset.add_sample_field(METRICS, fo.EmbeddedDocumentField, embedded_doc_type=document)
    dataset.mask_targets = {ORIGINS: {kind: word for kind, word in ORIGIN_WORDS.items() if kind}}
    dataset.app_config.color_scheme = fo.ColorScheme(
        color_by="value", opacity=0.45, fields=[*_region_colors(), _origin_colors()]
    )
    _declare_objects(dataset, _REGIONS)
    if labels == "semantic":
        declare_pixel_fields(dataset)
    else:
        _declare_instances(dataset)
    dataset.save()


def _declare_objects(dataset: fo.Dataset, fields: Iterable[str]) -> None:
    for field in fields:
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        for name, kind in _OF_OBJECTS.get(field, {}).items():
            dataset.add_sample_field(f"{field}.detections.{name}", kind)


def _declare_instances(dataset: fo.Dataset) -> None:
    """Declare what only runs that learn instances have."""
    document = fo.DynamicEmbeddedDocument
    things = things_of(dataset)
    for name, words in {COUNTS: things.names, **_COUNTS}.items():
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=document)
        for word in words:
            dataset.add_sample_field(f"{name}.{field_name(word)}", fo.IntField)
    _declare_objects(dataset, _OBJECT_FIELDS)
    kind = fo.Segmentation
    dataset.add_sample_field(ORIGINS, fo.EmbeddedDocumentField, embedded_doc_type=kind)
    scheme = dataset.app_config.color_scheme
    scheme.fields = [*_object_colors(things), *scheme.fields]
    dataset.app_config.active_fields = fo.ActiveFields(paths=list(_OBJECT_FIELDS))


def declare_metrics(dataset: fo.Dataset, lines: Iterable[Metrics | None]) -> None:
    """Declare the numbers that are logged, so that images can be filtered by them."""
    known = set(dataset.get_field_schema(flat=True))
    names = {name for line in lines if line is not None for name in metric_values(line)}
    for name in sorted(names):
        if f"{METRICS}.{name}" not in known:
            dataset.add_sample_field(f"{METRICS}.{name}", fo.FloatField)


def metric_values(line: Metrics) -> dict[str, float]:
    """Return the numbers of a step by names that fields can have.

    Example:
        >>> metric_values({"step": 3, "loss": 2, "losses": {"s2t/mask": 0.5}})
        {'loss': 2.0, 'losses_s2t_mask': 0.5}
    """
    return {field_name(name): float(value) for name, value in flat_numbers(line).items()}


def _object_colors(things: ThingClasses) -> Iterator[dict[str, object]]:
    """Yield the colours of the pages: classes, and what became of detections."""
    yield from (class_colors(path, things) for path in (INSTANCES, PSEUDO_LABELS, GROUND_TRUTH))
    fates = {
        KEPT: "#2ecc71",
        IGNORED: hex_color(IGNORED_OBJECT_COLOR),
        DROPPED: hex_color(DROPPED_COLOR),
    }
    colors = [{"value": word, "color": color} for word, color in fates.items()]
    yield {"path": DETECTIONS, "colorByAttribute": "status", "valueColors": colors}


def _region_colors() -> Iterator[dict[str, object]]:
    regions = [{"value": IGNORED, "color": "#808080"}, {"value": EGO_VEHICLE, "color": "#404040"}]
    for path in _REGIONS:
        yield {"path": path, "colorByAttribute": "label", "valueColors": regions}


def _origin_colors() -> dict[str, object]:
    colors = [
        {"intTarget": int(kind), "color": hex_color(ORIGIN_COLORS[kind])}
        for kind in ORIGIN_WORDS
        if kind
    ]
    return {"path": ORIGINS, "maskTargetsColors": colors}


def place_of(snapshot: StoredSnapshot, image: StoredImage) -> str:
    """Return an image's own name in its data set."""
    if image.domain != "pool":
        return f"{snapshot.place.key}, {image.name}"
    group = snapshot.place.group
    return f"{group}, {image.name}" if group else image.name


def to_sample(
    snapshot: StoredSnapshot, image: StoredImage, tags: Mapping[str, list[str]]
) -> fo.Sample:
    """Return an image with all that is known of it.

    Args:
        snapshot: it belongs to; a pool entry, the first it was seen in.
        image: of the snapshot.
        tags: that images had, by `samples.tag_key`.
    """
    height, width = image.size
    place = place_of(snapshot, image)
    sample = fo.Sample(
        filepath=str(image.picture.absolute()),
        tags=tags.get(tag_key(place), []),
        metadata=fo.ImageMetadata(
            size_bytes=image.picture.stat().st_size,
            mime_type="image/png",
            width=width,
            height=height,
            num_channels=3,
        ),
        place=place,
        domain=image.domain,
        image_name=image.image_name,
        group=group_text(snapshot.place.group) or None,
        labels="none",
    )
    for name, rows in image.objects.items():
        sample[name] = fo.Detections(
            detections=[
                detection(o.label, o.mask, image.size, mask_file=o.mask_file, **o.facts)
                for o in rows
            ]
        )
    for name, path in image.maps.items():
        file = str(path.absolute())
        is_heat = name in HEATMAPS
        sample[name] = fo.Heatmap(map_path=file) if is_heat else fo.Segmentation(mask_path=file)
    _add_counts(sample, image)
    if image.domain == "pool":
        times = image.facts["times_drawn"]
        sample.update_fields({"held_at": [snapshot.place.step], "drawn_at": [times]})
    else:
        sample["snapshot"] = snapshot.place.key
        sample["step"] = snapshot.place.step
        sample.update_fields(dict(snapshot.facts))
        if snapshot.place.metrics is not None:
            sample[METRICS] = _document(metric_values(snapshot.place.metrics))
    return sample


def _add_counts(sample: fo.Sample, image: StoredImage) -> None:
    """Add the objects of each class, and every other fact."""
    rows = image.objects.get(INSTANCES, image.objects.get(PSEUDO_LABELS))
    if rows is not None:
        found = Counter(one.label for one in rows)
        sample["objects"] = len(rows)
        names = dict.fromkeys((*THING_NAMES, *found))
        sample[COUNTS] = _document({name: found[name] for name in names})
    for name, value in image.facts.items():
        is_count = isinstance(value, Mapping)
        sample[name] = _document({str(k): v for k, v in value.items()}) if is_count else value


def _document(values: Mapping[str, object]) -> fo.DynamicEmbeddedDocument:
    known = {field_name(k): v for k, v in values.items() if v is not None}
    return fo.DynamicEmbeddedDocument(**known)
