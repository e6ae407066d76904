from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from nothing_found import nothing_found

from uda4inst.detections import Detections
from uda4inst.uda.adaptive_threshold import AdaptiveThresholds

Draw = Callable[..., Detections]
CAR, BUS, TRAIN = 2, 4, 5


def all_classes() -> torch.Tensor:
    return torch.full((8,), 0.9)


def scored(draw: Draw, *pairs: tuple[int, float]) -> Detections:
    """Return detections of these (label, score)."""
    masks = [["X"]] * len(pairs)
    return draw(*masks, labels=[p[0] for p in pairs], scores=[p[1] for p in pairs])


def after(draw: Draw, steps: int, *pairs: tuple[int, float], momentum: float = 0.9):
    adaptive = AdaptiveThresholds(all_classes(), momentum=momentum, floor=0.5)
    for _ in range(steps):
        adaptive.update([scored(draw, *pairs)])
    return adaptive


def test_thresholds__start_at_the_base() -> None:
    adaptive = AdaptiveThresholds(all_classes(), momentum=0.9, floor=0.5)
    assert torch.equal(adaptive.thresholds(), all_classes())


def test_update__lowers_a_class_in_proportion_to_the_surest(detections: Draw) -> None:
    thresholds = after(detections, 100, (CAR, 1.0), (TRAIN, 0.8)).thresholds()
    assert float(thresholds[CAR]) == pytest.approx(0.9)
    assert float(thresholds[TRAIN]) == pytest.approx(0.72, abs=1e-4)
    assert float(thresholds[BUS]) == pytest.approx(0.9)


def test_update__moves_as_a_running_mean(detections: Draw) -> None:
    adaptive = after(detections, 2, (CAR, 0.6), momentum=0.75)
    assert adaptive.means.tolist() == pytest.approx(
        [1, 1, 1 * 0.75**2 + 0.6 * (1 - 0.75**2), 1, 1, 1, 1, 1]
    )


def test_update__takes_the_best_score_of_an_image_and_the_mean_over_images(
    detections: Draw,
) -> None:
    adaptive = AdaptiveThresholds(all_classes(), momentum=0.0, floor=0.5)
    images = [[(CAR, 0.6), (CAR, 0.8)], [(CAR, 0.6)], [(CAR, 0.1)]]
    adaptive.update([scored(detections, *pairs) for pairs in images])
    assert float(adaptive.means[CAR]) == pytest.approx(0.7)


def test_update__never_goes_below_the_floor(detections: Draw) -> None:
    thresholds = after(detections, 60, (CAR, 1.0), (TRAIN, 0.52)).thresholds()
    assert float(thresholds[TRAIN]) == 0.5


def test_update__does_not_learn_from_scores_below_the_floor(detections: Draw) -> None:
    adaptive = after(detections, 10, (CAR, 1.0), (TRAIN, 0.4))
    assert float(adaptive.means[TRAIN]) == 1
    assert float(adaptive.thresholds()[TRAIN]) == pytest.approx(0.9)


def test_update__leaves_classes_that_are_not_learned(detections: Draw) -> None:
    base = torch.full((8,), torch.inf)
    base[TRAIN] = 0.9
    adaptive = AdaptiveThresholds(base, momentum=0.0, floor=0.5)
    thresholds = adaptive.update([scored(detections, (CAR, 1.0), (TRAIN, 0.8))])
    assert float(thresholds[TRAIN]) == pytest.approx(0.9)  # it is the surest of its group
    assert thresholds.isinf().sum() == 7


def test_update__takes_no_detections() -> None:
    adaptive = AdaptiveThresholds(all_classes(), momentum=0.5, floor=0.5)
    assert torch.equal(adaptive.update([nothing_found((1, 1))]), all_classes())


def test_update__never_looks_at_values_on_a_device(detections: Draw) -> None:
    found = scored(detections, (CAR, 1.0))
    assert found.masks is not None
    on_meta = Detections(
        labels=found.labels.to("meta"),
        class_scores=found.class_scores.to("meta"),
        mask_scores=found.mask_scores.to("meta"),
        size=found.size,
        masks=found.masks.to("meta"),
    )
    adaptive = AdaptiveThresholds(all_classes().to("meta"), momentum=0.5, floor=0.5)
    assert adaptive.update([on_meta]).device.type == "meta"


def test_state_dict__continues_bit_for_bit(detections: Draw) -> None:
    unbroken = after(detections, 7, (CAR, 0.97), (TRAIN, 0.61))
    file = io.BytesIO()
    torch.save(unbroken.state_dict(), file)
    file.seek(0)
    resumed = AdaptiveThresholds(all_classes(), momentum=0.9, floor=0.5)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(resumed.thresholds(), unbroken.thresholds())
    step = [scored(detections, (CAR, 0.93), (BUS, 0.7))]
    assert torch.equal(resumed.update(step), unbroken.update(step))
