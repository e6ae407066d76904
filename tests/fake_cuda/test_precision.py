"""The teacher's precision on a device, and what it does to pseudo-labels."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from fake_cuda.device import Device

from uda4inst.data.readers import Cityscapes
from uda4inst.detections import Detections
from uda4inst.models.mask2former.decode import decode
from uda4inst.models.mask2former.network import build_model
from uda4inst.models.precision import Precision, inference_precision
from uda4inst.toystreets.write import write_toystreets

pytestmark = pytest.mark.fake_cuda

MARGIN = 0.002  # of the score
THRESHOLDS = (0.5, 0.8, 0.9)  # the lowest that trains, ToyStreets', the paper's


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    out = tmp_path_factory.mktemp("data") / "toy"
    write_toystreets(out, size=(128, 256), train=24, val=1, seed=3, workers=0)
    dataset = Cityscapes(out / "cityscapes", "train")
    stacked = torch.stack([torch.from_numpy(dataset.read_image(i).copy()) for i in range(24)])
    return stacked.permute(0, 3, 1, 2).float() / 255


def detect(images: torch.Tensor, precision: Precision) -> list[Detections]:
    network, _ = build_model("tiny", weights="toystreets")
    network = network.to("cuda").eval()
    with torch.no_grad(), inference_precision(precision, "cuda"):
        return decode(network(images.to("cuda")))


def kept(found: Detections, threshold: float) -> dict[tuple[int, int], float]:
    """Return query and class of what a threshold keeps, and how far each score is from it."""
    assert found.query is not None
    rows = zip(found.query.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    return {(query, label): score - threshold for query, label, score in rows}


def test_device__shortens_factors_while_tf32_is_on(gpu: Device) -> None:
    factor = torch.full((1, 1), 1 + 2.0**-12).to("cuda")
    with inference_precision("tf32", "cuda"):
        assert (factor @ factor).item() == 1.0
    with inference_precision("fp32", "cuda"):
        assert (factor @ factor).item() > 1.0
    assert (factor @ factor).item() > 1.0


@pytest.mark.parametrize("precision", get_args(Precision))
def test_inference_precision__leaves_every_reader_of_torchs_switches_content(
    precision: Precision,
) -> None:
    def switches() -> tuple[object, ...]:
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        return torch.get_float32_matmul_precision(), matmul.allow_tf32, cudnn.allow_tf32

    before = switches()
    with inference_precision(precision, "cuda"):
        inside = switches()
    assert switches() == before
    assert inside[1:] == {"fp32": (False, False), "tf32": (True, True)}.get(precision, before[1:])


def test_teacher__keeps_the_same_pseudo_labels_in_tf32(gpu: Device, images: torch.Tensor) -> None:
    full, short = detect(images, "fp32"), detect(images, "tf32")
    labels = 0
    for threshold in THRESHOLDS:
        for one, other in zip(full, short, strict=True):
            mine, theirs = kept(one, threshold), kept(other, threshold)
            labels += sum(above > 0 for above in mine.values())
            for key in mine.keys() | theirs.keys():
                above, then = mine.get(key, -threshold), theirs.get(key, -threshold)
                assert (above > 0) == (then > 0) or abs(above) <= MARGIN, (key, above, then)
    assert labels > 50


def test_teacher__does_not_in_bf16_which_is_why_that_is_no_default(
    gpu: Device, images: torch.Tensor
) -> None:
    full, short = detect(images, "fp32"), detect(images, "bf16")
    changes = [
        abs(mine[key] - theirs[key])
        for mine, theirs in ((kept(a, 0.0), kept(b, 0.0)) for a, b in zip(full, short, strict=True))
        for key in mine.keys() & theirs.keys()
    ]
    assert max(changes) > 10 * MARGIN
