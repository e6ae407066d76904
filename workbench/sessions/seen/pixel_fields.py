"""Fields and saved views of runs that learn the class of every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from uda4inst.classes import SEMANTIC_CLASSES
from workbench.sessions.convert import MASK_TARGETS
from workbench.sessions.library import fo
from workbench.sessions.samples import hex_color
from workbench.sessions.seen.images import (
    CLASS_MAPS,
    HEATMAPS,
    KEPT_PIXELS,
    KEPT_SHARES,
    ORIGINS,
    PRECISION,
    PSEUDO_LABELS,
    RECALL,
    SEMANTIC,
    SHARES,
    VERDICTS,
    PixelVerdict,
    field_name,
)

Named = tuple[str, fo.DatasetView, str]

_FIELDS: Final = {
    "pasted_share": "Share of a mixed image's pixels that was pasted.",
    "accuracy": "Diagnostics: share of labelled pixels whose likeliest class is right.",
}
_BY_CLASS: Final = {
    SHARES: "Shares of the image's pixels that are learned as each class.",
    KEPT_SHARES: "Shares of the target's pixels whose pseudo-label was kept, or was sure.",
    PRECISION: "Diagnostics: shares of the kept pixels that are right.",
    RECALL: "Diagnostics: shares of the labelled pixels that are kept and right.",
}
_VERDICT_COLORS: Final = {
    PixelVerdict.KEPT_RIGHT: "#2ecc71",
    PixelVerdict.KEPT_WRONG: "#e74c3c",
    PixelVerdict.DROPPED_RIGHT: "#3d9be9",
    PixelVerdict.DROPPED_WRONG: "#808080",
}


def declare_pixel_fields(dataset: fo.Dataset) -> None:
    """Declare maps, and what is said of pixels by class; again is harmless."""
    for name, description in _FIELDS.items():
        dataset.add_sample_field(name, fo.FloatField, description=description)
    embedded = fo.EmbeddedDocumentField
    for name, description in _BY_CLASS.items():
        document = fo.DynamicEmbeddedDocument
        dataset.add_sample_field(
            name, embedded, embedded_doc_type=document, description=description
        )
        for word in ("all", *(c.name for c in SEMANTIC_CLASSES)):
            dataset.add_sample_field(f"{name}.{field_name(word)}", fo.FloatField)
    for name in (*CLASS_MAPS, ORIGINS, KEPT_PIXELS, VERDICTS):
        dataset.add_sample_field(name, embedded, embedded_doc_type=fo.Segmentation)
    for name in HEATMAPS:
        dataset.add_sample_field(name, embedded, embedded_doc_type=fo.Heatmap)
    dataset.mask_targets = {
        **dataset.mask_targets,
        **{name: dict(MASK_TARGETS) for name in CLASS_MAPS},
        KEPT_PIXELS: {1: "kept"},
        VERDICTS: {int(verdict): verdict.words for verdict in PixelVerdict},
    }
    dataset.app_config.color_scheme.fields = [
        *dataset.app_config.color_scheme.fields,
        *_colors(),
    ]
    dataset.app_config.active_fields = fo.ActiveFields(paths=[SEMANTIC, PSEUDO_LABELS])


def _colors() -> Iterator[dict[str, object]]:
    """Yield the colours of the maps' values."""
    classes = [{"intTarget": c.train_id + 1, "color": hex_color(c.color)} for c in SEMANTIC_CLASSES]
    for name in CLASS_MAPS:
        yield {"path": name, "maskTargetsColors": classes}
    verdicts = [{"intTarget": int(v), "color": color} for v, color in _VERDICT_COLORS.items()]
    yield {"path": VERDICTS, "maskTargetsColors": verdicts}
    yield {"path": KEPT_PIXELS, "maskTargetsColors": [{"intTarget": 1, "color": "#2ecc71"}]}


def pixel_views(dataset: fo.Dataset) -> Iterator[Named]:
    """Yield name, view and description of the views that only such runs have."""
    F = fo.ViewField
    kept = f"{KEPT_SHARES}.all"
    words = "Target crops, those of which least was kept, or sure, first."
    yield "pseudo-labels by share kept", dataset.exists(kept).sort_by(kept), words
    words = "Diagnostics: target crops, those where kept pixels are wrong most often first."
    precise = f"{PRECISION}.all"
    yield "pseudo-labels by precision", dataset.exists(precise).sort_by(precise), words
    for known in SEMANTIC_CLASSES:
        path = f"{SHARES}.{field_name(known.name)}"
        view = dataset.match(F(path) > 0).sort_by(path, reverse=True)
        yield f"class {known.name}", view, f"Images with {known.name}, most of it first."
