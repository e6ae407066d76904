from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from painter import Painter, mixed_of, painter_of
from pinned import pinned

from uda4inst.classes import THING_NAMES
from uda4inst.methods.base import LossTerm, MethodContext, Views
from uda4inst.methods.source_only import SourceOnly, SourceOnlyConfig
from uda4inst.methods.uda4inst import UDA4Inst, UDA4InstConfig
from uda4inst.models.mask2former.network import build_model
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import DomainBatch
from uda4inst.uda.mixing import Origin

Make = Callable[..., UDA4Inst]
MakeContext = Callable[..., MethodContext]
MakePainter = Callable[..., Painter]
MakeBatch = Callable[..., DomainBatch]

SIZE = (32, 64)
CAR, TRAIN = 2, 5
S2T = ["s2t/class", "s2t/mask", "s2t/dice"]
T2S = ["t2s/class", "t2s/mask", "t2s/dice"]
SOURCE = ["source/class", "source/mask", "source/dice"]
WITH_TRAIN = (0, 32, 8, 64, TRAIN)
WITH_CAR = (24, 0, 32, 8, CAR)


def terms_of(method: UDA4Inst, batch: DomainBatch, step: int = 0) -> list[LossTerm]:
    torch.manual_seed(step)  # the criterion draws points
    return list(method.losses(method.prepare(batch, step), step))


def total(terms: list[LossTerm]) -> torch.Tensor:
    return torch.stack([t.weight * t.value for t in terms]).sum()


def gradients(method: UDA4Inst, batch: DomainBatch) -> list[torch.Tensor]:
    method.context.student.zero_grad()
    total(terms_of(method, batch)).backward()
    return [p.grad.clone() for p in method.context.student.parameters() if p.grad is not None]


def pool_steps(views: Views) -> list[int]:
    return [entry.step for entry in views.pool]


# What is trained on, and how it is weighted


@pytest.mark.parametrize(
    ("mixing", "names", "weights"),
    [
        pytest.param({}, S2T + T2S, [0.8, 2, 2, 1.2, 3, 3], id="both"),
        pytest.param({"t2s": False}, S2T, [0.8, 2, 2], id="s2t-only"),
        pytest.param({"s2t": False}, T2S, [1.2, 3, 3], id="t2s-only"),
        pytest.param({"s2t": False, "t2s": False}, SOURCE, [2, 5, 5], id="none"),
        pytest.param(
            {"s2t_weight": 0.75, "t2s_weight": 0.25},
            S2T + T2S,
            [1.5, 3.75, 3.75, 0.5, 1.25, 1.25],
            id="synscapes",
        ),
    ],
)
@pytest.mark.parametrize("sureness", [8.0, 0.0], ids=["some-pseudo-labels", "none-kept"])
def test_losses__yield_terms_that_the_configuration_alone_decides(
    make_method: Make,
    painter: MakePainter,
    batch: DomainBatch,
    mixing: dict[str, Any],
    names: list[str],
    weights: list[float],
    sureness: float,
) -> None:
    method = make_method(painter(sureness=sureness), mixing=mixing)
    terms = terms_of(method, batch)
    assert [t.name for t in terms] == names
    assert [t.weight for t in terms] == pytest.approx(weights)
    assert torch.isfinite(total(terms))


def test_losses__take_sources_without_instances(make_method: Make, batch_of: MakeBatch) -> None:
    method = make_method(score_threshold=1.0)
    terms = terms_of(method, batch_of())
    total(terms).backward()
    assert len(terms) == 6
    assert all(p.grad is not None for p in method.context.student.parameters())


def test_losses__are_the_same_jointly_and_apart(make_method: Make, batch: DomainBatch) -> None:
    joint, apart = make_method(joint_forward=True), make_method(joint_forward=False)
    for left, right in zip(terms_of(joint, batch), terms_of(apart, batch), strict=True):
        assert left.name == right.name
        torch.testing.assert_close(left.value, right.value, rtol=1e-5, atol=1e-5)
    for left, right in zip(gradients(joint, batch), gradients(apart, batch), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    assert painter_of(joint).sizes == [4, 4]
    assert painter_of(apart).sizes == [2, 2, 2, 2]


def test_losses__are_the_same_jointly_and_apart_in_mask2former(
    make_context: MakeContext, batch_of: MakeBatch
) -> None:
    torch.manual_seed(0)
    student, _ = build_model("tiny", weights=None)

    @torch.random.fork_rng(devices=[])  # releases before 5.23 draw in every forward pass, in vain
    def forward(images: torch.Tensor) -> Prediction:
        return student(images)

    values = {}
    for joint in (True, False):
        config = UDA4InstConfig(joint_forward=joint, score_threshold=0.0)
        method = UDA4Inst(make_context(student, forward=forward), config)
        values[joint] = [t.value.detach() for t in terms_of(method, batch_of(WITH_TRAIN))]
    torch.testing.assert_close(values[True], values[False], rtol=1e-5, atol=1e-5)


def test_losses__without_mixing_are_source_only(
    make_method: Make, make_context: MakeContext, batch: DomainBatch
) -> None:
    method = make_method(mixing={"s2t": False, "t2s": False})
    bound_method = SourceOnly(make_context(), SourceOnlyConfig())
    mixed = terms_of(method, batch)
    torch.manual_seed(0)
    bound = list(bound_method.losses(bound_method.prepare(batch, 0), 0))
    assert all(torch.equal(a.value, b.value) for a, b in zip(mixed, bound, strict=True))
    assert method.teacher.model.sizes == []


def test_losses__run_the_student_through_what_wraps_it(
    painter: MakePainter, make_context: MakeContext, batch: DomainBatch
) -> None:
    student, wrapper = painter(), painter()
    method = UDA4Inst(make_context(student, forward=wrapper), UDA4InstConfig())
    terms_of(method, batch)
    assert (student.sizes, wrapper.sizes) == ([], [4])


# What prepare makes


def test_prepare__mixes_in_both_directions(make_method: Make, batch_of: MakeBatch) -> None:
    batch = batch_of(WITH_CAR)
    views = make_method(lab_alignment=False).prepare(batch, 0)
    (s2t,), (t2s,), (source,), (target,) = (
        mixed_of(views, "s2t"),
        mixed_of(views, "t2s"),
        batch.source,
        batch.target,
    )
    painted, car = (slice(0, 16), slice(0, 16)), (slice(24, 32), slice(0, 8))
    assert (s2t.origin[car] == Origin.SOURCE_INSTANCE).all()
    assert (s2t.origin > 0).sum() == 64
    assert torch.equal(s2t.image[:, *car], source.image[:, *car])
    assert torch.equal(s2t.image[:, *painted], target.image[:, *painted])
    assert s2t.instances.compact().labels.tolist() == [CAR, CAR]
    assert (t2s.origin == Origin.PSEUDO_LABEL).sum() == views.pseudo_labels[0].areas().sum()
    assert torch.equal(t2s.image[:, 2:14, 2:14], target.image[:, 2:14, 2:14])
    assert torch.equal(t2s.image[:, *car], source.image[:, *car])
    assert t2s.instances.compact().labels.tolist() == [CAR, CAR]


def test_prepare__keeps_all_detections_beside_the_chosen(
    make_method: Make, batch: DomainBatch
) -> None:
    views = make_method().prepare(batch, 0)
    assert [len(d) for d in views.detections] == [len(p) for p in views.pseudo_labels] == [8, 8]
    assert [int((p.labels >= 0).sum()) for p in views.pseudo_labels] == [1, 1]


def test_prepare__leaves_out_the_ego_vehicle(
    make_method: Make, painter: MakePainter, batch_of: MakeBatch
) -> None:
    student = painter([(24, 0, 32, 32), (0, 32, 32, 48)], [CAR, CAR])
    (kept,) = make_method(student).prepare(batch_of(ego_rows=8), 0).pseudo_labels
    assert int((kept.labels >= 0).sum()) == 1
    assert not (kept.ids[24:] > 0).any()


def test_prepare__pastes_nothing_smaller_than_asked(make_method: Make, batch_of: MakeBatch) -> None:
    views = make_method(mixing={"min_area": 65}).prepare(batch_of(WITH_CAR), 0)
    assert (mixed_of(views, "s2t")[0].origin == Origin.BASE).all()
    assert (mixed_of(views, "t2s")[0].origin > 0).any()


def test_prepare__needs_gradients_nowhere(make_method: Make, batch: DomainBatch) -> None:
    method = make_method()
    views = method.prepare(batch, 0)
    logits = [d.mask_logits for d in views.detections]
    assert not any(t.requires_grad for t in logits if t is not None)
    assert not any(
        m.image.requires_grad for m in (*mixed_of(views, "s2t"), *mixed_of(views, "t2s"))
    )


def test_prepare__keeps_no_masks_at_full_size(make_method: Make, batch: DomainBatch) -> None:
    views = make_method().prepare(batch, 0)
    assert views.detections
    assert all(found.masks is None for found in views.detections)


def test_prepare__leaves_the_batch_untouched(make_method: Make, batch: DomainBatch) -> None:
    tensors = [
        t
        for s in batch.source
        for t in (s.image, s.known_instances().ids, s.known_instances().labels)
    ]
    tensors += [t.image for t in batch.target]
    before = [t.clone() for t in tensors]
    make_method().prepare(batch, 0)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def test_prepare__says_when_target_is_missing(make_method: Make, batch: DomainBatch) -> None:
    with pytest.raises(ValueError, match=r"DomainBatch\.target must hold"):
        make_method(lab_alignment=False).prepare(DomainBatch(source=batch.source), 0)


def test_prepare__never_looks_at_values_on_a_device(
    make_method: Make, batch: DomainBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The meta device has no values, and no autocast either.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    filled = make_method()
    filled.prepare(batch, 0)
    method = make_method(filled.context.student.to("meta"))
    method.rare_classes.pool = filled.rare_classes.pool
    views = method.prepare(DomainBatch(batch.source[1:], batch.target[1:]), 1)
    assert mixed_of(views, "s2t")[0].image.device.type == "meta"
    assert len(mixed_of(views, "s2t")[0].instances) == 8 + 0 + 1


@pytest.mark.gpu
def test_prepare__never_stops_the_gpu(
    make_method: Make, painter: MakePainter, batch: DomainBatch
) -> None:
    method = make_method(painter().to("cuda"))
    batch = pinned(batch)
    method.prepare(batch, 0)  # first use of a kernel may synchronise
    torch.cuda.set_sync_debug_mode("error")
    try:
        views = method.prepare(batch, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (mixed_of(views, "s2t")[1].origin == Origin.POOL).any()


# Teacher


def test_teacher__follows_the_student_from_step_to_step(
    make_method: Make, batch: DomainBatch
) -> None:
    method = make_method()
    student, teacher = painter_of(method), method.teacher.model
    assert isinstance(teacher, Painter)
    start = student.classes.detach().clone()
    seen: list[float] = []
    for step in range(3):
        method.prepare(batch, 100 + step)  # the run's step does not matter
        seen.append(float((teacher.classes - start).mean()))
        with torch.no_grad():
            student.classes.copy_(start + 1)
    assert seen == pytest.approx([0, 1 / 2, 2 / 3], abs=1e-5)


def test_teacher__gets_no_gradients(make_method: Make, batch: DomainBatch) -> None:
    method = make_method()
    gradients(method, batch)
    assert all(p.grad is None for p in method.teacher.model.parameters())
    assert not method.teacher.model.training


# Rare-class pool


def test_pool__fills_from_sources_with_rare_instances(
    make_method: Make, batch_of: MakeBatch
) -> None:
    method = make_method()
    views = method.prepare(batch_of(WITH_TRAIN, WITH_CAR), 7)
    (entry,) = views.pool
    assert (entry.label, entry.offset, entry.sample_id, entry.step) == (TRAIN, (0, 32), "source", 7)
    assert torch.equal(entry.image, views.source[0].image[:, 0:8, 32:64])
    assert not (mixed_of(views, "s2t")[0].origin == Origin.POOL).any()


def test_pool__is_pasted_where_a_source_has_none(make_method: Make, batch_of: MakeBatch) -> None:
    method = make_method()
    method.prepare(batch_of(WITH_TRAIN), 0)
    views = method.prepare(batch_of(WITH_CAR), 1)
    (mixed,) = mixed_of(views, "s2t")
    assert (mixed.origin[0:8, 32:64] == Origin.POOL).all()
    assert mixed.instances.compact().labels.tolist() == [CAR, CAR, TRAIN]
    assert not (mixed_of(views, "t2s")[0].origin == Origin.POOL).any()
    assert views.pool[0].times_drawn == 1


def test_pool__serves_later_pairs_of_the_same_batch(make_method: Make, batch: DomainBatch) -> None:
    first, second = mixed_of(make_method().prepare(batch, 0), "s2t")
    assert not (first.origin == Origin.POOL).any()
    assert (second.origin == Origin.POOL).any()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"pool": {"enabled": False}}, id="pool-off"),
        pytest.param({"mixing": {"s2t": False}}, id="s2t-off"),
        pytest.param({"pool": {"rare_classes": ["bus"]}}, id="other-classes"),
        pytest.param({"mixing": {"min_area": 1000}}, id="too-small"),
    ],
)
def test_pool__stays_empty(make_method: Make, batch: DomainBatch, config: dict[str, Any]) -> None:
    views = make_method(**config).prepare(batch, 0)
    assert views.pool == ()
    mixed = [m for direction in views.mixed for m in mixed_of(views, direction)]
    assert not any((m.origin == Origin.POOL).any() for m in mixed)


def drawn_at(method: UDA4Inst, batch_of: MakeBatch, step: int) -> list[int]:
    """Fill the pool with ten entries and return how often each is drawn at a step."""
    trains = [(0, left, 8, left + 4, TRAIN) for left in range(0, 40, 4)]
    method.prepare(batch_of(*trains), 0)
    return [entry.times_drawn for entry in method.prepare(batch_of(), step).pool]


def test_pool__draws_depend_on_seed_rank_and_step(make_method: Make, batch_of: MakeBatch) -> None:
    draws = [
        drawn_at(make_method(seed=seed, rank=rank), batch_of, step)
        for seed, rank, step in [(0, 0, 50), (0, 0, 50), (1, 0, 50), (0, 1, 50), (0, 0, 51)]
    ]
    assert draws[0] == draws[1]
    assert all(sum(d) == 5 for d in draws)
    assert len({tuple(d) for d in draws}) == 4


# What is logged and saved


def test_figures__count_pseudo_labels_and_the_pool(
    make_method: Make, painter: MakePainter, batch: DomainBatch
) -> None:
    method = make_method(painter([(0, 0, 16, 16), (16, 32, 32, 64)], [CAR, TRAIN]))
    figures = method.figures(method.prepare(batch, 0))
    assert list(figures) == ["pseudo_labels", "pool"]
    assert figures["pseudo_labels"].values.tolist() == [0, 0, 2, 0, 0, 2, 0, 0]
    assert figures["pseudo_labels"].names == THING_NAMES
    assert (int(figures["pool"].values), figures["pool"].names) == (1, ())


def test_figures__without_mixing_have_no_pseudo_labels(
    make_method: Make, batch: DomainBatch
) -> None:
    method = make_method(mixing={"s2t": False, "t2s": False})
    assert list(method.figures(method.prepare(batch, 0))) == ["pool"]


def test_state_dict__continues_as_if_unbroken(make_method: Make, batch: DomainBatch) -> None:
    unbroken, student = make_method(seed=3), make_method().context.student
    for step in range(4):
        unbroken.prepare(batch, step)
        with torch.no_grad():
            painter_of(unbroken).classes.mul_(1.01)
    file = io.BytesIO()
    torch.save(unbroken.state_dict(), file)
    file.seek(0)
    student.load_state_dict(unbroken.context.student.state_dict())
    resumed = make_method(student, seed=3)
    resumed.teacher.load_state_dict(unbroken.teacher.state_dict())  # a file of its own
    resumed.load_state_dict(torch.load(file, weights_only=True))
    left, right = unbroken.prepare(batch, 4), resumed.prepare(batch, 4)
    assert torch.equal(left.detections[0].scores, right.detections[0].scores)
    assert all(
        torch.equal(a.image, b.image)
        for a, b in zip(mixed_of(left, "s2t"), mixed_of(right, "s2t"), strict=True)
    )
    assert pool_steps(left) == pool_steps(right)
