"""Batches: the same from any worker count and any start; errors whole; target labels unread."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from uda4inst.data.config import DataConfig
from uda4inst.data.stream.dataset import (
    PairedDataset,
)
from uda4inst.data.stream.items import (
    ItemInstances,
    ItemSemantic,
)
from uda4inst.data.stream.loading import RawBatch, build_loader, collate
from uda4inst.errors import UserError
from uda4inst.structures import DomainBatch, Labels, Sample
from uda4inst.toystreets.write import ToyStreetsTree

Make = Callable[..., DataConfig]


def take(loader: Iterator[DomainBatch], count: int) -> list[DomainBatch]:
    return list(itertools.islice(loader, count))


def labels_of(sample: Sample) -> list[Any]:
    """The labels there are of a sample, as plain lists."""
    found: list[Any] = []
    if sample.instances is not None:
        found += [sample.instances.ids.tolist(), sample.instances.labels.tolist()]
    if sample.semantic is not None:
        found += ["semantic", sample.semantic.ids.tolist()]
    return found


def contents(batch: DomainBatch) -> list[Any]:
    """Everything in a batch, as plain lists."""
    labelled = [
        [s.image.tolist(), s.sample_id, *labels_of(s)] for s in (*batch.source, *batch.labelled)
    ]
    return labelled + [[t.image.tolist(), t.valid.tolist(), t.sample_id] for t in batch.target]


def build(config: DataConfig, **changes: Any) -> Iterator[DomainBatch]:
    return build_loader(
        config, **{"mode": "pair", "batch_size": 2, "seed": 7, "labels": "instances"} | changes
    )


def test_build_loader__batch_is_typed_and_scaled(tree: ToyStreetsTree, make_config: Make) -> None:
    (batch,) = take(build(make_config(tree), batch_size=3), 1)
    assert (len(batch.source), len(batch.target), len(batch.labelled)) == (3, 3, 0)
    assert batch.source[0].size == (32, 64)
    assert batch.source[0].semantic is None
    assert {s.domain for s in batch.source} == {"source"}
    raw = PairedDataset(make_config(tree), mode="pair", seed=7, labels="instances")[1].source
    assert raw is not None
    assert torch.equal(batch.source[1].image, raw.image.float() / 255)
    assert isinstance(raw.labels, ItemInstances)
    assert torch.equal(batch.source[1].known_instances().labels, raw.labels.labels)
    assert torch.equal(batch.source[1].known_instances().ids, raw.labels.ids)


def test_build_loader__semantic_maps_alone(tree: ToyStreetsTree, make_config: Make) -> None:
    (batch,) = take(build(make_config(tree), batch_size=3, labels="semantic"), 1)
    (other,) = take(build(make_config(tree), batch_size=3), 1)
    raw = PairedDataset(make_config(tree), mode="pair", seed=7, labels="semantic")[1].source
    assert raw is not None
    assert isinstance(raw.labels, ItemSemantic)
    assert torch.equal(batch.source[1].known_semantic().ids, raw.labels.ids)
    for mine, theirs in zip(batch.source, other.source, strict=True):
        assert mine.instances is None
        assert torch.equal(mine.image, theirs.image)
        things = mine.known_semantic().ids[theirs.known_instances().ids > 0]
        assert int(things.min()) >= 11
        assert int(things.max()) <= 18


@pytest.mark.parametrize("mode", ["source", "labelled"])
def test_build_loader__other_modes(tree: ToyStreetsTree, make_config: Make, mode: str) -> None:
    (batch,) = take(build(make_config(tree), mode=mode), 1)
    counts = {"source": len(batch.source), "labelled": len(batch.labelled)}
    assert counts == {"source": 0, "labelled": 0} | {mode: 2}
    assert len(batch.target) == 0
    assert {s.domain for s in batch.labelled} <= {"target"}


@pytest.mark.parametrize("labels", ["instances", "semantic"])
def test_build_loader__workers_change_nothing(
    tree: ToyStreetsTree, make_config: Make, labels: str
) -> None:
    alone = take(build(make_config(tree, workers=0), labels=labels), 5)
    helped = take(build(make_config(tree, workers=2), labels=labels), 5)
    assert [contents(b) for b in alone] == [contents(b) for b in helped]


def test_build_loader__resumes_exactly(tree: ToyStreetsTree, make_config: Make) -> None:
    whole = take(build(make_config(tree)), 6)
    rest = take(build(make_config(tree), start_step=4), 2)
    assert [contents(b) for b in whole[4:]] == [contents(b) for b in rest]


def test_build_loader__processes_split_the_batch(tree: ToyStreetsTree, make_config: Make) -> None:
    whole = take(build(make_config(tree), batch_size=4), 2)
    halves = [take(build(make_config(tree), rank=rank, world_size=2), 2) for rank in range(2)]
    for step in range(2):
        ids = [s.sample_id for s in whole[step].source]
        assert ids == [s.sample_id for half in halves for s in half[step].source]


@pytest.mark.parametrize("workers", [0, 1])
def test_build_loader__leaves_global_randomness_alone(
    tree: ToyStreetsTree, make_config: Make, workers: int
) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    take(build(make_config(tree, workers=workers)), 2)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_build_loader__a_damaged_file_is_one_clear_message(
    own_tree: ToyStreetsTree, make_config: Make, workers: int
) -> None:
    for path in (own_tree.source_root / "panoptic").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError) as caught:
        take(build(make_config(own_tree, workers=workers)), 1)
    message = str(caught.value)
    assert message.startswith("file must be a complete PNG, got one cut short after 200 bytes")
    assert "\n" not in message


def test_build_loader__a_missing_tree_is_told_at_once(
    tree: ToyStreetsTree, make_config: Make, tmp_path: Path
) -> None:
    source = {"format": "urbansyn", "root": str(tmp_path / "none")}
    with pytest.raises(UserError, match="root must be an UrbanSyn folder"):
        build(make_config(tree, source=source))


@pytest.mark.parametrize("poison", ["garbage", "missing"])
def test_build_loader__training_never_opens_target_labels(
    tree: ToyStreetsTree, own_tree: ToyStreetsTree, make_config: Make, poison: str
) -> None:
    for path in (own_tree.target_root / "gtFine").rglob("*"):
        if path.is_file():
            path.write_bytes(b"poison") if poison == "garbage" else path.unlink()
    clean = take(build(make_config(tree)), 4)
    poisoned = take(build(make_config(own_tree)), 4)
    assert [contents(b) for b in clean] == [contents(b) for b in poisoned]
    with pytest.raises(UserError):
        take(build(make_config(own_tree), mode="labelled"), 1)


@pytest.mark.gpu
@pytest.mark.parametrize("labels", ["instances", "semantic"])
def test_raw_batch__arrives_on_the_gpu_the_same(
    tree: ToyStreetsTree, make_config: Make, labels: Labels
) -> None:
    dataset = PairedDataset(make_config(tree), mode="pair", seed=0, labels=labels)
    raw = collate([dataset[0], dataset[1]])
    assert isinstance(raw, RawBatch)
    there = raw.pin_memory().to("cuda")
    assert there.source[0].image.device.type == "cuda"
    assert contents(there) == contents(raw.to("cpu"))
