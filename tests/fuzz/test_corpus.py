"""What the searches for bad files kept is read or refused, and they would find what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuzz import CORPUS, MAX_BYTES, changed
from fuzz_targets import LABEL_FILES, TARGETS, Target, seeds_of

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
    for path in sorted((CORPUS / name).glob("*")):
        target.attempt(trees, path.read_bytes())


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
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= set(TARGETS)
    assert all(path.stat().st_size <= MAX_BYTES for path in files)
    assert sum(path.stat().st_size for path in files) < 1_000_000


def test_changed__another_document_and_none_of_other_bytes() -> None:
    document = {"a": [1, 2], "b": {"c": "d"}}
    found = {changed(json.dumps(document).encode(), seed) for seed in range(200)}
    assert json.dumps({"a": [1, 2]}).encode() in found
    assert json.dumps({"a": [1, 2, 2], "b": {"c": "d"}}).encode() in found
    assert len(found) > 30
    assert changed(b"{", 1) is None
    assert changed(b"\x89PNG", 1) is None
    assert changed(b"a: {b: 1}", 2) is not None
