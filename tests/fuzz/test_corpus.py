"""What the searches for bad files kept is read or refused, and they would find what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuzz import CORPUS, MAX_BYTES, changed, keep_files, kept_files
from fuzz_data_sets import LABEL_FILES
from fuzz_target import Target
from fuzz_targets import TARGETS, seeds_of

from uda4inst.data.readers import DATASETS


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a target's trees lie."""
    return tmp_path_factory.mktemp("trees")


@pytest.mark.parametrize("name", TARGETS)
def test_reader__takes_whole_files_and_bears_all_that_were_kept(name: str, trees: Path) -> None:
    target = TARGETS[name]
    whole = seeds_of(name, trees)
    assert whole
    assert any(is_read(target, trees, data) for data in whole)
    for data in kept_files(CORPUS, name):
        target.attempt(trees, data)


def is_read(target: Target, folder: Path, data: bytes) -> bool:
    try:
        target.read(folder, data)
    except target.refusals:
        return False
    return True


def test_targets__are_of_every_format_with_labels() -> None:
    assert set(LABEL_FILES) == {name for name, kind in DATASETS.items() if kind.has_labels} - {
        "coco"
    }


def test_corpus__is_small_and_of_targets_that_there_are() -> None:
    archives = list(CORPUS.iterdir())
    assert {path.name for path in archives} <= {f"{name}.zip" for name in TARGETS}
    assert all(len(data) <= MAX_BYTES for name in TARGETS for data in kept_files(CORPUS, name))
    assert sum(path.stat().st_size for path in archives) < 1_000_000


def test_kept_files__are_those_that_were_given(tmp_path: Path) -> None:
    assert kept_files(tmp_path, "a") == []
    keep_files(tmp_path, "a", [b"x", b"y", b"x"])
    assert sorted(kept_files(tmp_path, "a")) == [b"x", b"y"]
    before = (tmp_path / "a.zip").read_bytes()
    keep_files(tmp_path, "a", [b"y", b"x"])
    assert (tmp_path / "a.zip").read_bytes() == before


def test_changed__another_document_and_none_of_other_bytes() -> None:
    document = {"a": [1, 2], "b": {"c": "d"}}
    found = {changed(json.dumps(document).encode(), seed) for seed in range(200)}
    assert json.dumps({"a": [1, 2]}).encode() in found
    assert json.dumps({"a": [1, 2, 2], "b": {"c": "d"}}).encode() in found
    assert len(found) > 30
    assert changed(b"{", 1) is None
    assert changed(b"\x89PNG", 1) is None
    assert changed(b"a: {b: 1}", 2) is not None
