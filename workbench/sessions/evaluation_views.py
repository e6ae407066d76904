"""Saved views of an evaluation: what is missed, what is made up, and the worst images first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from uda4inst.classes import THING_NAMES
from uda4inst.errors import UserError, did_you_mean
from workbench.sessions.library import fo
from workbench.sessions.outcomes import ERROR_KINDS
from workbench.sessions.samples import IGNORED_REGIONS, SEMANTIC
from workbench.sessions.things import things_of
from workbench.sessions.views import replace_view

BY_ERROR: Final = "images by error"
AT_A_HIGH_SCORE: Final = "pseudo-labels wrong at a high score"
_COMPARISON: Final = "Evaluations:"  # before the keys in a comparison's description


def evaluation_view_names(eval_key: str, names: Sequence[str] = THING_NAMES) -> tuple[str, ...]:
    """Return the names of all views that an evaluation of so named classes can have."""
    return (
        f"{eval_key}: {BY_ERROR}",
        f"{eval_key}: {AT_A_HIGH_SCORE}",
        *(f"{eval_key}: misses of {name}" for name in names),
        *(f"{eval_key}: false positives of {name}" for name in names),
        *(f"{eval_key}: {kind}" for kind in ERROR_KINDS),
    )


def save_evaluation_views(dataset: fo.Dataset, eval_key: str) -> tuple[str, ...]:
    """Save the views of an evaluation in place of those it had; return their names.

    Images by error (most false positives and misses first), misses and false positives of each
    class, and each kind of error; views that would show nothing are left out.

    Args:
        dataset: a session.
        eval_key: of one of its evaluations by the project's protocols.

    Raises:
        UserError: there is no such evaluation.
    """
    known = dataset.list_evaluations()
    if eval_key not in known:
        raise UserError(
            f"eval_key must be an evaluation of {dataset.name!r} "
            f"({', '.join(known) or 'there is none'}), got {eval_key!r}."
            f"{did_you_mean(eval_key, known)}"
        )
    made = _views(dataset, eval_key)
    possible = {*evaluation_view_names(eval_key, things_of(dataset).names), *made}
    for name in possible & set(dataset.list_saved_views()):
        dataset.delete_saved_view(name)
    for name, (view, description) in made.items():
        dataset.save_view(name, view, description=description)
    return tuple(made)


def save_high_score_view(dataset: fo.Dataset, eval_key: str, score: float) -> str | None:
    """Save a view of the false positives that would have become pseudo-labels; return its name.

    None, and no view, where there is none.

    Args:
        dataset: a session.
        eval_key: of one of its evaluations by the project's protocols.
        score: that a detection must exceed to become a pseudo-label.
    """
    F = fo.ViewField
    config: Any = dataset.get_evaluation_info(eval_key).config
    is_wrong = (F(eval_key) == "fp") & (F("confidence") > score)
    shown = _with_alone(dataset, config.gt_field, config.pred_field)
    view = shown.filter_labels(config.pred_field, is_wrong)
    words = f"False positives that score more than {score:g}."
    return replace_view(dataset, f"{eval_key}: {AT_A_HIGH_SCORE}", view, words)


def save_comparison_view(
    dataset: fo.Dataset, first: tuple[str, str], second: tuple[str, str]
) -> str | None:
    """Save a view of the objects that one finds and another misses; return its name.

    None, and no view, where there is no such object.

    Args:
        dataset: a session.
        first: title and evaluation of the one that finds them.
        second: title and evaluation of the one that misses them.
    """
    F = fo.ViewField
    (title, key), (other_title, other_key) = first, second
    config: Any = dataset.get_evaluation_info(key).config
    is_so = (F(key) == "tp") & (F(other_key) == "fn")
    view = _with_alone(dataset, config.gt_field).filter_labels(config.gt_field, is_so)
    name = f"found by {title}, missed by {other_title}"
    return replace_view(dataset, name, view, f"Objects. {_COMPARISON} {key} {other_key}")


def forget_evaluation(dataset: fo.Dataset, eval_key: str) -> None:
    """Delete an evaluation with all views that show it."""
    of_others = f"{_COMPARISON} "
    names = set(evaluation_view_names(eval_key, things_of(dataset).names))
    for name in dataset.list_saved_views():
        said: str = dataset.get_saved_view_info(name)["description"] or ""
        _, compares, keys = said.partition(of_others)
        if name in names or (compares and eval_key in keys.split()):
            dataset.delete_saved_view(name)
    dataset.delete_evaluation(eval_key)


def forget_evaluations(dataset: fo.Dataset) -> None:
    """Delete a data set's evaluations and their views, as before its samples are made anew."""
    for key in dataset.list_evaluations():
        forget_evaluation(dataset, key)


def _with_alone(dataset: fo.Dataset, *labels: str) -> fo.DatasetView:
    """Return all images with some labels alone: others would lie over what is looked at.

    Args:
        dataset: a session.
        labels: fields that stay beside ignored regions and the semantic map.
    """
    kinds = (fo.Detections, fo.Segmentation)
    every = set(dataset.get_field_schema(embedded_doc_type=kinds))
    others = every.difference(labels, (IGNORED_REGIONS, SEMANTIC))
    return dataset.select_fields([n for n in dataset.get_field_schema() if n not in others])


def _views(dataset: fo.Dataset, key: str) -> dict[str, tuple[fo.DatasetView, str]]:
    """Return views and descriptions by name."""
    F = fo.ViewField
    config: Any = dataset.get_evaluation_info(key).config
    true, found = config.gt_field, config.pred_field
    errors = F(f"{key}_fp") + F(f"{key}_fn")
    names = things_of(dataset).names
    bare, own = _with_alone(dataset, true), _with_alone(dataset, true, found)
    views = {
        f"{key}: {BY_ERROR}": (
            own.match(errors > 0).sort_by(errors, reverse=True),
            "Images with false positives or misses, most first.",
        )
    }
    sides = ((bare, true, "fn", "misses"), (own, found, "fp", "false positives"))
    for shown, field, fate, words in sides:
        wrong = dataset.filter_labels(field, F(key) == fate)
        counts = wrong.count_values(f"{field}.detections.label")
        for name in (name for name in names if counts.get(name)):
            view = shown.filter_labels(field, (F(key) == fate) & (F("label") == name))
            views[f"{key}: {words} of {name}"] = (view, f"The {words} of {name} alone.")
    kinds: Counter[str] = Counter()
    for field in (true, found):
        kinds.update(dataset.count_values(f"{field}.detections.{key}_error"))
    for kind in (kind for kind in ERROR_KINDS if kinds[kind]):
        is_kind = F(f"{key}_error") == kind
        view = own.filter_labels(true, is_kind, only_matches=False)
        view = view.filter_labels(found, is_kind, only_matches=False)
        there = F(f"{true}.detections").length() + F(f"{found}.detections").length()
        views[f"{key}: {kind}"] = (view.match(there > 0), f"Errors of the kind: {kind}.")
    return views
