"""Data sets of this project in FiftyOne: told from others, and built by one process at a time.

What is ours is told by an entry in its `info`; half of one, by the state written there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from uda4inst.errors import UserError
from workbench.sessions.database import reason_of
from workbench.sessions.library import fo
from workbench.sessions.views import WHOLE

# Called with what is being done, how many of it are, and how many there are in all.
Progress = Callable[[str, int, int], None]

KEY: Final = "uda4inst"  # of what is ours in a data set's info
PREDICTED: Final = "predicted"  # what runs predict of its images, there
COMMON: Final = "common"  # scores over the images of all, there and in the summary
AT_ONCE: Final = 32  # samples written together


@dataclass(frozen=True, slots=True, eq=False)
class DataSession:
    """A data set that holds what was asked for.

    Args:
        dataset: in FiftyOne.
        summary: as JSON can hold it: name, whether it was built now, counts of each domain, views.
    """

    dataset: fo.Dataset
    summary: Mapping[str, Any]


def load_own(name: str) -> fo.Dataset | None:
    """Return our data set of a name, or None where there is none.

    Raises:
        UserError: there is one that is not ours.
    """
    if not fo.dataset_exists(name):
        return None
    dataset = fo.load_dataset(name)
    if KEY not in dataset.info and not _is_blank(dataset):
        raise UserError(
            f"data set {name!r} must be one of this project, got another of that name, which stays "
            "as it is. Rename it in FiftyOne, or name another database in FIFTYONE_DATABASE_DIR."
        )
    return dataset


def _is_blank(dataset: fo.Dataset) -> bool:
    """Whether nothing at all was put into a data set, as when its builder was killed at once."""
    return not (len(dataset) or dataset.info or dataset.list_saved_views() or dataset.tags)


@contextmanager
def sole_builder(name: str) -> Iterator[None]:
    """Keep two processes from building one data set.

    Raises:
        UserError: another is at it.
    """
    folder = media_folder(name).parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(
            f"data set {name!r} must be built by one process, got a second while the first is at "
            "it. Wait until it is done, then open the session again."
        ) from error
    finally:
        os.close(descriptor)


def media_folder(name: str) -> Path:
    """Return where the files of a data set lie that exist for FiftyOne alone."""
    return Path(fo.config.default_dataset_dir) / name


def save_info(dataset: fo.Dataset, **changes: object) -> None:
    """Write down what a data set is, what is not named staying as it is."""
    dataset.info[KEY] = {**dataset.info.get(KEY, {}), **changes}
    dataset.save()


def description_of(plain: str, *, diagnostics: bool) -> str:
    """Return the sentence that FiftyOne shows with a data set."""
    if diagnostics:
        return "The target's labels are diagnostics: training never sees them."
    return plain


def add_samples(dataset: fo.Dataset, batch: Sequence[fo.Sample]) -> None:
    """Add samples.

    Raises:
        UserError: the database cannot take them.
    """
    try:
        dataset.add_samples(batch, validate=False, progress=False)
    except Exception as error:  # of pymongo, as they come
        raise UserError(
            f"the database must take all images, got {reason_of(error)} ({dataset.name}). Free "
            "space on the disk if it is full, then open the session again: what is missing is "
            "added."
        ) from error


def image_count(dataset: fo.Dataset) -> int:
    """Return how many images a data set holds, having MongoDB count anew where it is mistaken.

    Its quick count, which FiftyOne's page shows, can be wrong once a mongod was killed or died of a
    full disk.
    """
    counted = dataset.count("id")
    if counted != len(dataset):
        fo.core.odm.get_db_conn().command("validate", dataset._sample_collection_name)
    return counted


def view_sizes(dataset: fo.Dataset) -> dict[str, int]:
    """Return how many images every saved view has, but for that of all."""
    names = (name for name in dataset.list_saved_views() if name != WHOLE)
    return {name: len(dataset.load_saved_view(name)) for name in names}
