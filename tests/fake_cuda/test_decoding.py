"""Decoding, pseudo-labels, mixing and evaluation on the stand-in: the CPU's results, one wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from fake_cuda.device import Device, Event
from numpy.typing import NDArray
from painter import Painter
from torch import Tensor

from uda4inst.classes import LABEL_TO_TRAIN_ID
from uda4inst.detections import Detections
from uda4inst.evaluation.evaluate import detect, evaluate_model
from uda4inst.evaluation.semantic import segment
from uda4inst.formats.predictions import ScoredMask
from uda4inst.formats.rle import Rle, rle_encode
from uda4inst.formats.run_starts import encode_runs, run_starts
from uda4inst.models.mask2former.decode import decode, full_masks, with_masks
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.models.precision import inference_precision
from uda4inst.models.semantic.build import build_semantic
from uda4inst.structures import InstanceMap, moved
from uda4inst.uda.mixing import Mixed, Origin, mix
from uda4inst.uda.pseudo_labels import select, valid_shares

pytestmark = pytest.mark.fake_cuda

SIZE = (1024, 2048)
QUERIES, TOP_K = 12, 8


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """Keep convolutions from TF32, torch's choice for them: results are held to the CPU's."""
    with inference_precision("fp32", "cuda"):
        yield


def blobs(images: int = 1, size: tuple[int, int] = SIZE, seed: int = 0) -> Prediction:
    """Return a prediction of smooth overlapping masks; more queries than can be detected."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, images * QUERIES, 4, 8, generator=generator)
    masks = torch.nn.functional.interpolate(
        4 * coarse, size=(size[0] // 4, size[1] // 4), mode="bicubic"
    )
    classes = 3 * torch.randn(1, images, QUERIES, 9, generator=generator)
    return Prediction(classes, (masks.view(images, QUERIES, *masks.shape[-2:]),), size)


def on_device(prediction: Prediction) -> Prediction:
    masks = tuple(layer.to("cuda") for layer in prediction.mask_logits)
    return Prediction(prediction.class_logits.to("cuda"), masks, prediction.size)


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one.cpu(), other.cpu())


def assert_same(there: Detections, here: Detections) -> None:
    for name in ("labels", "class_scores", "mask_scores", "query", "masks", "mask_logits"):
        assert same(getattr(there, name), getattr(here, name)), name


def test_decode__equals_the_cpu_and_nothing_crosses(gpu: Device) -> None:
    prediction = blobs(images=2)
    here = decode(prediction, top_k=TOP_K)
    there = on_device(prediction)
    gpu.clear()
    found = decode(there, top_k=TOP_K)
    masks = [full_masks(each) for each in found]
    assert not gpu.crossings
    for one, other, mask in zip(found, here, masks, strict=True):
        assert one.mask_logits is not None
        assert len(one.mask_logits) == TOP_K  # no place for all the queries
        assert_same(one, other)
        assert same(mask, full_masks(other))
        assert same(with_masks(one.without_masks()).masks, other.masks)


def test_decode__upsamples_every_mask_once(gpu: Device) -> None:
    there = on_device(blobs())
    valid = torch.ones(SIZE, dtype=torch.bool, device="cuda")
    gpu.clear()
    (found,) = decode(there, top_k=TOP_K)
    select(found, score_threshold=0.1, valid=valid)
    assert gpu.operations["aten::upsample_bilinear2d"] == 1  # one piece: 16 Mi pixels
    assert gpu.operations["aten::scatter_add_"] == 0  # no areas counted


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="paper"),
        pytest.param({"min_valid_share": 0.0}, id="ego vehicle does not matter"),
        pytest.param({"min_visible_share": 0.3, "unsure_threshold": 0.1}, id="ours"),
    ],
)
def test_select__equals_the_cpu_and_nothing_crosses(gpu: Device, options: dict[str, float]) -> None:
    prediction = blobs()
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[700:] = False
    (here,) = decode(prediction, top_k=TOP_K)
    expected = select(here, score_threshold=0.3, valid=valid, **options)
    assert (expected.labels >= 0).sum() > 1
    (there,), valid_there = decode(on_device(prediction), top_k=TOP_K), valid.to("cuda")
    gpu.clear()
    chosen = select(there, score_threshold=0.3, valid=valid_there, **options)
    again = select(there.without_masks(), score_threshold=0.3, valid=valid_there, **options)
    shares = valid_shares(there, valid_there)
    assert not gpu.crossings
    for one in (chosen, again):
        assert same(one.ids, expected.ids)
        assert same(one.labels, expected.labels)
    assert same(shares, valid_shares(here, valid))


def mixed(device: str, *, min_area: int = 0, patch_max_area: int = 0) -> Mixed:
    """Paste a small and a large instance, on a device."""
    ids = torch.zeros((32, 64), dtype=torch.int32)
    ids[2:5, 2:6], ids[8:24, 8:40] = 1, 2
    pasted = InstanceMap(ids, torch.tensor([2, 5])).to(device)
    base = InstanceMap(ids.flip(0, 1).contiguous(), torch.tensor([0, 1])).to(device)
    images = [moved(torch.full((3, 32, 64), value), device) for value in (0.25, 0.75)]
    return mix(
        images[0],
        base,
        images[1],
        pasted,
        origin=Origin.SOURCE_INSTANCE,
        min_area=min_area,
        patch_max_area=patch_max_area,
    )


@pytest.mark.parametrize(
    ("options", "counted"),
    [
        pytest.param({}, 0, id="paper"),
        pytest.param({"min_area": 20}, 1, id="smallest"),
        pytest.param({"patch_max_area": 20}, 1, id="patches"),
    ],
)
def test_mix__counts_areas_where_an_option_needs_them(
    gpu: Device, options: dict[str, int], counted: int
) -> None:
    here = mixed("cpu", **options)
    gpu.clear()
    there = mixed("cuda", **options)
    assert gpu.operations["aten::scatter_add_"] == counted
    assert same(there.image, here.image)
    assert same(there.instances.ids, here.instances.ids)
    assert same(there.instances.labels, here.instances.labels)
    assert same(there.origin, here.origin)


@pytest.mark.parametrize("size", [(24, 40), (7, 9)], ids=["whole words", "padded"])
def test_run_starts__equal_the_cpu(gpu: Device, size: tuple[int, int]) -> None:
    masks = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) < 0.3
    there = masks.to("cuda")
    gpu.clear()
    starts = run_starts(there)
    assert not gpu.crossings
    assert encode_runs(starts.cpu().numpy(), size) == [rle_encode(mask) for mask in masks]


class Waits:
    """Counts how often the host waits for what it has asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        synchronize = Event.synchronize

        def counted(event: Event) -> None:
            self.count += 1
            synchronize(event)

        monkeypatch.setattr(Event, "synchronize", counted)


def pictures(count: int, size: tuple[int, int] = SIZE) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def painter() -> Painter:
    """Return a painter of large pictures with 6 objects."""
    network = Painter([(0, 0, 8, 16), (4, 8, 24, 40), (16, 32, 32, 64)] * 2, [2, 0, 5, 3, 1, 2])
    network.masks.data = torch.nn.functional.interpolate(
        network.masks.data[None], size=(SIZE[0] // 4, SIZE[1] // 4), mode="bilinear"
    )[0]
    return network


def crossed(gpu: Device) -> Counter[tuple[str, str]]:
    """Return what crossed, by file and kind."""
    return Counter((c.place.split(":")[0], c.kind) for c in gpu.crossings)


@pytest.mark.parametrize("short_side", [None, 512], ids=["as they are", "resized"])
def test_detect__waits_once_an_image(
    gpu: Device, monkeypatch: pytest.MonkeyPatch, short_side: int | None
) -> None:
    images = 2
    network = painter()
    if short_side:
        network.masks.data = network.masks.data[:, ::2, ::2].contiguous()
    here = list(detect(network, pictures(images), device="cpu", short_side=short_side))
    there_network, waits = network.to("cuda"), Waits(monkeypatch)
    gpu.clear()
    there = list(detect(there_network, pictures(images), device="cuda", short_side=short_side))
    assert [told(found) for found in there] == [told(found) for found in here]
    assert len({code for _, _, code in told(here[0])}) > 2
    file = "uda4inst/evaluation/inference.py"
    assert crossed(gpu) == {
        ("uda4inst/structures.py", "to device, asynchronous"): images,
        (file, "to host, asynchronous"): 2 * images,  # scores, and where runs begin
    }
    assert waits.count == images


def told(found: Sequence[ScoredMask]) -> list[tuple[int, float, str]]:
    """Return label, score and code of every detection."""
    return [(d.label, d.score, cast("Rle", d.mask)["counts"]) for d in found]


def test_detect__starts_an_image_before_it_waits_for_the_last(gpu: Device) -> None:
    network = painter().to("cuda")
    found = detect(network, pictures(3), device="cuda")
    started: list[int] = []
    for _ in found:
        started.append(len(network.sizes))
    assert started == [2, 3, 3]


def test_detect__an_image_that_cannot_be_read_is_told(gpu: Device) -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield from pictures(1)
        raise OSError("no such picture")

    with pytest.raises(OSError, match="no such picture"):
        list(detect(painter().to("cuda"), broken(), device="cuda"))


def test_segment__waits_once_a_batch(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, _ = build_semantic("mit_tiny", weights=None)
    here = list(segment(network, pictures(2, (64, 128)), device="cpu"))
    there_network, waits = network.to("cuda"), Waits(monkeypatch)
    gpu.clear()
    there = list(segment(there_network, pictures(2, (64, 128)), device="cuda"))
    assert all(np.array_equal(one, other) for one, other in zip(there, here, strict=True))
    assert not [str(c) for c in gpu.crossings if c.waits]
    assert waits.count == 1


class OnePicture:
    """A labelled split of one picture."""

    def __len__(self) -> int:
        return 1

    def basename(self, index: int) -> str:
        return f"bonn_{index:06d}_000019"

    def read_image(self, index: int) -> NDArray[np.uint8]:
        return list(pictures(index + 1))[index]

    def read_instance_ids(self, index: int) -> NDArray[np.integer]:
        del index
        ids = np.full(SIZE, 7, dtype=np.int32)
        ids[: SIZE[0] // 4, : SIZE[1] // 4] = 26000
        return ids

    def read_semantic(self, index: int) -> NDArray[np.uint8]:
        return LABEL_TO_TRAIN_ID[np.minimum(self.read_instance_ids(index), 26)]


def test_evaluate_model__gives_the_cpus_numbers_and_file(gpu: Device, tmp_path: Path) -> None:
    results = []
    for device in ("cpu", "cuda"):
        file = tmp_path / f"{device}.jsonl.gz"
        result = evaluate_model(
            painter().to(device), OnePicture(), device=device, predictions_path=file
        )
        results.append((result, file.read_bytes()))
    assert results[0] == results[1]
    assert results[0][0]["cityscapes"]["AP"] is not None
