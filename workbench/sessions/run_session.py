"""What runs predict, in the data set of the images they are judged on, judged there as well.

A run adds fields to a session of its validation images, so a second run, step or network reads no
picture again, and all of them stand side by side. What is there already is not written twice; other
predictions of the same name take the place of the former.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from uda4inst.errors import UserError
from workbench.sessions import evaluation  # makes the methods known
from workbench.sessions.building import COMMON, PREDICTED, DataSession, Progress, sole_builder
from workbench.sessions.convert import to_predictions
from workbench.sessions.data_session import open_data_session, summary_of
from workbench.sessions.evaluation_views import (
    forget_evaluation,
    save_comparison_view,
    save_evaluation_views,
    save_high_score_view,
)
from workbench.sessions.library import fo
from workbench.sessions.predicted import Judgeable, Predicted, request_of
from workbench.sessions.reading import GROUND_TRUTH
from workbench.sessions.samples import class_colors
from workbench.sessions.semantic_run import (
    add_semantic,
    save_semantic_comparison,
    semantic_scores,
    show_maps,
)
from workbench.sessions.things import things_of
from workbench.sessions.views import replace_view

_OTHER_IMAGES: Final = (
    "The scores of `predicted` are over different images, so they are no ranking; those of "
    "`common` are over the images of all, as are the views that compare. --images FILE judges all "
    "on the images of a list."
)
_NO_IMAGE: Final = (
    "The scores are over different images, so they are no ranking; there is no image of all. "
    "Evaluate them on the same images."
)
_IMAGES_OF_ALL: Final = "images judged of all"
_AT_ONCE: Final = 64  # images whose detections are written together
_COMPARED: Final = 4  # at most so many are compared with each other: views grow with the square


def open_run_session(
    predicted: Sequence[Predicted],
    *,
    images: Path | None = None,
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> DataSession:
    """Return the session of the images with what was predicted on them, judged, and its views.

    Args:
        predicted: at least one.
        images: a list of those to show and judge; None for all.
        limit: so many images, spread evenly; None for all.
        fresh: build everything again.
        progress: called while images and predictions are added, and while these are judged.

    Raises:
        UserError: as `open_data_session`; or predictions cannot be read, or are of other images.
    """
    request = request_of(predicted, images=images, limit=limit)
    session = open_data_session(request, fresh=fresh, progress=progress)
    return hold(session, predicted, progress=progress)


def hold(
    session: DataSession, predicted: Sequence[Judgeable], *, progress: Progress | None = None
) -> DataSession:
    """Return a session of images with predictions on them, judged, and their views.

    Args:
        session: of the images.
        predicted: at least one.
        progress: called for each, while it is added and judged.

    Raises:
        UserError: predictions cannot be read, or are of other images; another process adds some.
    """
    dataset = session.dataset
    with sole_builder(dataset.name):
        dataset.reload()  # another process may have added predictions meanwhile
        for one in predicted:
            _keep(dataset, one, progress or _silent)
        _compare(dataset, predicted)
        common = _on_common(dataset, predicted, progress or _silent)
    kept = dataset.info[PREDICTED]
    shown = {one.field: kept[one.field] for one in predicted}
    summary = summary_of(dataset, built=bool(session.summary["built"]))
    return DataSession(dataset, {**summary, PREDICTED: shown, **common})


def _on_common(
    dataset: fo.Dataset, predicted: Sequence[Judgeable], progress: Progress
) -> dict[str, Any]:
    """Return the scores over the images of all, and why; nothing where all are of the same."""
    images = [frozenset[str](dataset.exists(one.field).values("id")) for one in predicted]
    shared = dataset.select(sorted(frozenset[str].intersection(*images)))
    differ = len(set(images)) > 1
    view = shared if differ else dataset.limit(0)
    replace_view(dataset, _IMAGES_OF_ALL, view, "Those that every network was judged on.")
    if not differ or not len(shared):
        return {"not_comparable": _NO_IMAGE} if differ else {}
    prints = {one.field: dataset.info[PREDICTED][one.field]["fingerprint"] for one in predicted}
    kept = {**prints, "images": len(shared)}
    known: dict[str, Any] = dict(dataset.info.get(COMMON, {}))
    if known.get("of") != kept:
        scores = {one.field: _rejudged(shared, one, progress) for one in predicted}
        known = {"of": kept, "scores": scores}
        _write_info(dataset, COMMON, known)
    return {"not_comparable": _OTHER_IMAGES, COMMON: known["scores"]}


def _rejudged(images: fo.DatasetView, one: Judgeable, progress: Progress) -> dict[str, Any]:
    """Return the scores over some of the images that were judged; nothing is written."""
    if one.task.predictions_kind == "label maps":
        return semantic_scores(images, one, progress)
    return {"images": len(images), "protocol": "cityscapes", **_judged(images, one, progress)}


def _judged(
    images: fo.DatasetView, one: Judgeable, progress: Progress, eval_key: str | None = None
) -> dict[str, Any]:
    """Judge detections and return their scores; with a key, what became of each is kept."""
    results: Any = images.evaluate_detections(
        one.field,
        gt_field=GROUND_TRUTH,
        eval_key=eval_key,
        method=evaluation.CITYSCAPES,
        only=list(one.classes),
        progress=lambda bar: progress(f"Judging {one.title}", bar.iteration, bar.total),
    )
    return results.scores


def _silent(doing: str, done: int, total: int) -> None:
    del doing, done, total


def _keep(dataset: fo.Dataset, one: Judgeable, progress: Progress) -> None:
    """Write predictions and what they are worth, unless they are there."""
    kept: dict[str, Any] = dict(dataset.info.get(PREDICTED, {}))
    print_of_file = one.fingerprint()
    known = kept.get(one.field, {})
    if known.get("fingerprint") == print_of_file and _is_there(dataset, one):
        return
    kept.pop(one.field, None)
    _write_info(dataset, PREDICTED, kept)  # half of it is not taken for the whole
    add = add_semantic if one.task.predictions_kind == "label maps" else _add
    scores = add(dataset, one, progress)
    facts = {**one.facts(), "fingerprint": print_of_file, "scores": scores}
    _write_info(dataset, PREDICTED, {**kept, one.field: {"title": one.title, **facts}})


def _is_there(dataset: fo.Dataset, one: Judgeable) -> bool:
    """Whether nobody took out what was written of predictions."""
    if one.task.predictions_kind == "label maps":
        return dataset.has_sample_field(one.field)
    return one.key in dataset.list_evaluations()


def _compare(dataset: fo.Dataset, predicted: Sequence[Judgeable]) -> None:
    """Save the views of what one finds and another does not, of every two of a kind."""
    semantic = [one for one in predicted if one.task.predictions_kind == "label maps"]
    for first, second in _pairs([one for one in predicted if one not in semantic]):
        save_comparison_view(dataset, (first.title, first.key), (second.title, second.key))
    for first, second in _pairs(semantic):
        save_semantic_comparison(dataset, first, second)
    show_maps(dataset, semantic if len(semantic) == len(predicted) else ())


def _pairs(predicted: Sequence[Judgeable]) -> Iterator[tuple[Judgeable, Judgeable]]:
    """Yield every ordered pair of the first few."""
    few = predicted[:_COMPARED]
    yield from ((a, b) for a in few for b in few if a is not b)


def _write_info(dataset: fo.Dataset, name: str, kept: Mapping[str, Any]) -> None:
    dataset.info[name] = dict(kept)
    dataset.save()


def _add(dataset: fo.Dataset, one: Judgeable, progress: Progress) -> dict[str, Any]:
    """Write the detections of all images that were judged, judge them, and save their views."""
    if one.key in dataset.list_evaluations():
        forget_evaluation(dataset, one.key)
    _write_detections(dataset, one, progress)
    judged = dataset.exists(one.field)
    scores = _judged(judged, one, progress, one.key)
    save_evaluation_views(dataset, one.key)
    if one.score_threshold is not None:
        save_high_score_view(dataset, one.key, one.score_threshold)
    return {"images": len(judged), "protocol": "cityscapes", **scores}


def _write_detections(dataset: fo.Dataset, one: Judgeable, progress: Progress) -> None:
    """Write the detections of all images that were judged.

    Raises:
        UserError: they cannot be read, or none is of these images.
    """
    if dataset.has_sample_field(one.field):
        dataset.clear_sample_field(one.field)
    else:
        dataset.add_sample_field(
            one.field,
            fo.EmbeddedDocumentField,
            embedded_doc_type=fo.Detections,
            description=f"{one.title}: {one.path}",
        )
    things = things_of(dataset)
    scheme = dataset.app_config.color_scheme
    others = [field for field in scheme.fields if field["path"] != one.field]
    scheme.fields = [*others, class_colors(one.field, things)]
    dataset.save()
    ids = dict(zip(dataset.values("image_name"), dataset.values("id"), strict=True))
    batch: dict[str, fo.Detections] = {}
    done = strangers = 0
    for image in one.detections():
        place = ids.get(image.sample_id)
        if place is None:
            strangers += 1
            continue
        batch[place] = to_predictions(image, things.names)
        if len(batch) == _AT_ONCE or done + len(batch) == len(ids):
            dataset.set_values(one.field, batch, key_field="id")
            done += len(batch)
            progress(f"Adding {one.title}", done, len(ids))
            batch = {}
    if batch:
        dataset.set_values(one.field, batch, key_field="id")
        done += len(batch)
    if not done:
        raise UserError(
            f"predictions must be of the session's images, got {strangers} others ({one.path}). "
            "Choose the images they were made on."
        )
