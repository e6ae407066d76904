from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from uda4inst.models.mask2former import targets as targets_module
from uda4inst.models.mask2former.criterion import Criterion, CriterionLosses
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import InstanceMap

SIZE = (64, 96)
POINTS = 400


def library_losses(prediction: Prediction, targets: list[InstanceMap]) -> CriterionLosses:
    """The library's loss, its layers summed by term."""
    config = Mask2FormerConfig(train_num_points=POINTS)
    config.num_labels = 8
    loss = Mask2FormerLoss(config, weight_dict={})
    height, width = prediction.padded_size
    padding = (0, width - prediction.size[1], 0, height - prediction.size[0])
    maps = [target.compact() for target in targets]
    terms = loss(
        prediction.mask_logits[-1],
        prediction.class_logits[-1],
        [F.pad(m.masks().float(), padding) for m in maps],
        [m.labels for m in maps],
        [
            {"masks_queries_logits": masks, "class_queries_logits": classes}
            for masks, classes in zip(
                prediction.mask_logits[:-1], prediction.class_logits[:-1], strict=True
            )
        ],
    )
    classes, mask, dice = (
        sum((v for k, v in terms.items() if k.startswith(f"loss_{term}")), torch.zeros(()))
        for term in ("cross_entropy", "mask", "dice")
    )
    return CriterionLosses(classes, mask, dice, 2 * classes + 5 * mask + 5 * dice)


def gradients(losses: CriterionLosses, prediction: Prediction) -> tuple[Tensor, Tensor]:
    of_classes, *of_masks = torch.autograd.grad(
        losses.total, [prediction.class_logits, *prediction.mask_logits], retain_graph=True
    )
    return of_classes, torch.stack(of_masks)


def assert_same(ours: CriterionLosses, theirs: CriterionLosses) -> None:
    for name in ("class_loss", "mask_loss", "dice_loss", "total"):
        torch.testing.assert_close(
            getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-5, msg=name
        )


LABELS = {
    "several masks, several images": [(0, 2, 7), (3, 3)],
    "one image without instances": [(1, 4, 4), ()],
    "more instances than queries": [tuple(range(8)), (5,)],
    "empty slots among them": [(-1, 2, -1, 6), (-1, -1)],
}


@pytest.mark.usefixtures("same_points")
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("size", [SIZE, (50, 75)], ids=["whole", "padded"])
@pytest.mark.parametrize("compact_on", [{"cpu"}, set()], ids=["as on CPU", "as on GPU"])
def test_criterion__equals_the_librarys_loss_on_the_same_points(
    make_prediction, make_map, monkeypatch, labels, size, compact_on
) -> None:
    monkeypatch.setattr(targets_module, "_COMPACT_ON", compact_on)
    prediction = make_prediction(size)
    targets = [make_map(size, slots, seed=seed) for seed, slots in enumerate(labels)]

    ours = Criterion(num_points=POINTS)(prediction, targets)
    theirs = library_losses(prediction, targets)

    assert_same(ours, theirs)
    for own, other in zip(gradients(ours, prediction), gradients(theirs, prediction), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("same_points")
def test_criterion__equals_the_librarys_loss_with_12544_points(make_prediction, make_map) -> None:
    prediction = make_prediction(SIZE, layers=2)
    targets = [make_map(SIZE, (0, 1)), make_map(SIZE, (2,), seed=1)]

    ours = Criterion()(prediction, targets)
    config = Mask2FormerConfig()
    config.num_labels = 8
    loss = Mask2FormerLoss(config, weight_dict={})
    theirs = loss(
        prediction.mask_logits[-1],
        prediction.class_logits[-1],
        [t.masks().float() for t in targets],
        [t.labels for t in targets],
        [
            {
                "masks_queries_logits": prediction.mask_logits[0],
                "class_queries_logits": prediction.class_logits[0],
            }
        ],
    )

    expected = theirs["loss_mask"] + theirs["loss_mask_0"]
    torch.testing.assert_close(ours.mask_loss, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("same_points")
def test_criterion__several_views_equal_the_views_alone(make_prediction, make_map) -> None:
    criterion = Criterion(num_points=POINTS)
    first, second = make_prediction(SIZE, seed=1), make_prediction(SIZE, images=1, seed=2)
    maps = [make_map(SIZE, (0, 2)), make_map(SIZE, (1,), seed=1), make_map(SIZE, (5, 5, 3), seed=2)]

    together = criterion.many([(first, maps[:2]), (second, maps[2:])])

    assert_same(together[0], criterion(first, maps[:2]))
    assert_same(together[1], criterion(second, maps[2:]))


@pytest.mark.usefixtures("same_points")
def test_criterion__joint_forward_split_by_select_equals_separate(
    make_prediction, make_map
) -> None:
    criterion = Criterion(num_points=POINTS)
    joint = make_prediction(SIZE, images=4)
    maps = [make_map(SIZE, (k, 2), seed=k) for k in range(4)]

    first, second = criterion.many(
        [(joint.select(slice(0, 2)), maps[:2]), (joint.select(slice(2, 4)), maps[2:])]
    )

    halves = [
        Prediction(joint.class_logits[:, s], tuple(m[s] for m in joint.mask_logits), SIZE)
        for s in (slice(0, 2), slice(2, 4))
    ]
    assert_same(first, criterion(halves[0], maps[:2]))
    assert_same(second, criterion(halves[1], maps[2:]))


def test_criterion__empty_slots_change_nothing(make_prediction, make_map) -> None:
    prediction = make_prediction(SIZE, images=1)
    target = make_map(SIZE, (-1, 2, -1, 6, -1))
    vanished = InstanceMap(target.ids, torch.cat([target.labels, torch.tensor([3, 4])]))

    losses = [
        Criterion(num_points=POINTS)(
            prediction, [each], generator=torch.Generator().manual_seed(5)
        ).total
        for each in (target, target.compact(), vanished)
    ]

    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2])


def test_criterion__without_instances_is_finite_and_reaches_every_parameter(tiny_model) -> None:
    images = torch.rand(2, 3, 64, 64)
    tiny_model.zero_grad()

    losses = Criterion(num_points=64)(tiny_model(images), [InstanceMap.empty((64, 64))] * 2)
    losses.total.backward()

    assert torch.isfinite(losses.total)
    assert losses.mask_loss == 0
    assert losses.dice_loss == 0
    assert [name for name, p in tiny_model.named_parameters() if p.grad is None] == []


def test_criterion__ignored_pixels_get_no_gradient(make_prediction) -> None:
    prediction = make_prediction((64, 64), layers=1, images=1)
    ids = torch.zeros((64, 64), dtype=torch.int32)
    ids[8:40, 40:60] = 1
    ids[:, :32] = -1

    losses = Criterion(num_points=2000, importance_ratio=0.0)(
        prediction, [InstanceMap(ids, torch.tensor([3]))]
    )
    gradient = gradients(losses, prediction)[1].abs().sum((0, 1, 2))

    assert gradient[:, :7].max() == 0  # cell 7 still touches column 32
    assert gradient[:, 9:].min() > 0


def test_criterion__all_pixels_ignored_is_finite(make_prediction) -> None:
    prediction = make_prediction((64, 64), images=1)
    ids = torch.full((64, 64), -1, dtype=torch.int32)

    losses = Criterion(num_points=50)(prediction, [InstanceMap(ids, torch.tensor([3]))])

    assert torch.isfinite(losses.total)


def test_criterion__learns_the_mask_it_is_given() -> None:
    ids = torch.zeros((64, 64), dtype=torch.int32)
    ids[8:40, 16:48] = 1
    right = torch.full((1, 1, 2, 16, 16), -20.0)
    right[0, 0, 1, 2:10, 4:12] = 20.0
    classes = torch.zeros(1, 1, 2, 9)
    classes[0, 0, 0, 8] = classes[0, 0, 1, 3] = 20.0

    losses = Criterion()(
        Prediction(classes, right.unbind(), (64, 64)), [InstanceMap(ids, torch.tensor([3]))]
    )

    assert losses.class_loss < 1e-4
    assert losses.dice_loss < 0.1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_criterion__non_finite_logits_give_a_non_finite_loss(
    make_prediction, make_map, value
) -> None:
    prediction = make_prediction(SIZE)
    prediction.class_logits.data[:, 0, 0, 0] = value
    for masks in prediction.mask_logits:
        masks.data[1] = value

    losses = Criterion(num_points=POINTS)(
        prediction, [make_map(SIZE, (0, 1)), make_map(SIZE, (2,))]
    )

    assert not torch.isfinite(losses.total)


def test_criterion__refuses_targets_of_another_number(make_prediction, make_map) -> None:
    with pytest.raises(ValueError, match=r"targets must number 2, one per image, got 1"):
        Criterion()(make_prediction(SIZE), [make_map(SIZE, (1,))])


def test_criterion__refuses_targets_of_another_size(make_prediction, make_map) -> None:
    with pytest.raises(ValueError, match=r"targets must have the images' size \(64, 96\)"):
        Criterion()(make_prediction(SIZE, images=1), [make_map((64, 64), (1,))])


class _NoSync(TorchDispatchMode):
    """Refuses operators that would stop a device: values or shapes that the host must know."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        refused = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero")
        assert not any(name in str(func) for name in refused), func
        return func(*args, **(kwargs or {}))


def test_criterion__asks_the_device_once_for_all_views(
    make_prediction, make_map, monkeypatch
) -> None:
    transfers = []
    to_host = Tensor.cpu
    monkeypatch.setattr(
        Tensor, "cpu", lambda tensor: transfers.append(tensor.shape) or to_host(tensor)
    )
    maps = [make_map(SIZE, (0, 1)), make_map(SIZE, (2,))]
    maps[0].ids[:20] = -1
    weights = [torch.rand(2), torch.rand(1)]

    monkeypatch.setattr(targets_module, "_COMPACT_ON", frozenset())
    with _NoSync():
        Criterion(num_points=POINTS).many(
            [(make_prediction(SIZE), maps)] * 2,
            slot_weights=[weights, None],
            mask_scales=[weights, None],
            candidates=[[torch.rand(SIZE) > 0.5] * 2, None],
        )

    assert len(transfers) == 1


@pytest.mark.gpu
def test_criterion__asks_the_gpu_once(make_prediction, make_map) -> None:
    prediction = make_prediction(SIZE)
    prediction = Prediction(
        prediction.class_logits.cuda(), tuple(m.cuda() for m in prediction.mask_logits), SIZE
    )
    targets = [make_map(SIZE, (0, 1)).to("cuda"), make_map(SIZE, (2,)).to("cuda")]
    criterion = Criterion(num_points=POINTS).cuda()
    criterion(prediction, targets)

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="called a synchronizing") as seen:
            criterion(prediction, targets)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert len(seen) == 1


def test_criterion__two_processes_equal_one(tmp_path) -> None:
    script = Path(__file__).parents[2] / "support" / "two_processes.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    results = torch.load(tmp_path / "result.pt", weights_only=True)
    torch.testing.assert_close(results["distributed"], results["whole"], rtol=1e-5, atol=1e-7)
