"""What people tagged or selected, as an image list that training, evaluation and export take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from uda4inst.errors import UserError, did_you_mean
from uda4inst.formats.image_list import write_image_list
from workbench.sessions.database import connect
from workbench.sessions.library import fo

_SHOWN: Final = 10  # names that a message lists
# Whose images those of a session of training are, by what they are pasted into or cut from.
_BASES: Final = {"S2T": "target", "T2S": "source", "pool": "source"}


def export_tag(name: str, tag: str, path: Path, *, domain: str | None = None) -> int:
    """Write the images of a data set that carry a tag, or a label of which does.

    Args:
        name: of the data set in FiftyOne.
        tag: of images, labels or both.
        path: the file.
        domain: "source" or "target"; None where the images are of one domain.

    Returns:
        How many images are listed.

    Raises:
        UserError: there is no such data set or tag, it is not ours, the images are of two domains,
            or the file cannot be written.
    """
    connect()
    known = fo.list_datasets()
    if name not in known:
        raise UserError(
            f"DATASET must be a data set of this database ({_shown(known)}), got {name!r}."
            f"{did_you_mean(name, known)}"
        )
    dataset = fo.load_dataset(name)
    view = tagged(dataset, tag)
    return export_view(view, path, domain=domain, what=f"tagged {tag!r}")


def tagged(dataset: fo.Dataset, tag: str) -> fo.DatasetView:
    """Return the images with a tag, or with a label that has it, in the data set's order.

    Raises:
        UserError: nothing has it.
    """
    labels = dataset.count_label_tags()
    known = sorted({*dataset.distinct("tags"), *labels})
    if tag not in known:
        raise UserError(
            f"TAG must be a tag of images or labels of {dataset.name!r} ({_shown(known)}), got "
            f"{tag!r}.{did_you_mean(tag, known)}"
        )
    ids = {*dataset.match_tags(tag).values("id")}
    if tag in labels:
        ids.update(dataset.match_labels(tags=tag).values("id"))
    return dataset.select([one for one in dataset.values("id") if one in ids])


def export_view(
    view: fo.SampleCollection, path: Path, *, domain: str | None = None, what: str = "shown"
) -> int:
    """Write the images of a view, of one domain at a time.

    Args:
        view: of a session.
        path: the file.
        domain: "source" or "target"; None where the images are of one domain.
        what: how the images were chosen, for the file's first line and messages.

    Returns:
        How many images are listed.

    Raises:
        UserError: the data set is not ours, the images are none or of two domains, or the file
            cannot be written.
    """
    dataset = view._root_dataset
    if not {"image_name", "domain"} <= dataset.get_field_schema().keys():
        raise UserError(
            f"data set must be a session of this project, got {dataset.name!r}, which does not say "
            "what its images are called. Make one with 'uda4inst inspect'."
        )
    names, kinds = view.values(["image_name", "domain"])
    domains = [str(_BASES.get(kind, kind)) for kind in kinds]
    chosen = _of_domain(names, domains, domain, what)
    of = domain or domains[0]
    known = dataset.info.get("uda4inst", {}).get("domains", {}).get(of, {})
    place = f" of {known['root']}, {known['split']}" if known else ""
    write_image_list(path, chosen, about=[f"{of} images{place}", f"{what} in {dataset.name}"])
    return len(set(chosen))


def _of_domain(
    names: Sequence[str], domains: Sequence[str], domain: str | None, what: str
) -> list[str]:
    """Return the names of one domain's images.

    Raises:
        UserError: there are none, or it is not said which.
    """
    there = sorted(set(domains))
    if domain is None and len(there) > 1:
        counts = ", ".join(f"{domains.count(one)} of the {one}" for one in there)
        raise UserError(
            f"an image list must be of one domain, got {counts} ({what}). Name it: "
            f"{' or '.join(f'--domain {one}' for one in there)}."
        )
    chosen = [n for n, own in zip(names, domains, strict=True) if domain in (None, own)]
    if not chosen:
        where = f" of the {domain}" if domain and there else ""
        raise UserError(f"an image list must name an image, got none{where} ({what}).")
    return chosen


def _shown(names: Sequence[str]) -> str:
    """Return the first names of many."""
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN]) or "there is none"
    return f"{shown} and {more} more" if more > 0 else shown
