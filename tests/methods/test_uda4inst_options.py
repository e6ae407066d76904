"""What is off by default: the later code's mixing, and extensions of our own."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from painter import Painter, made, painter_of
from pinned import pinned

from uda4inst.methods.uda4inst import UDA4Inst
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.ops.blur import blur_5x5
from uda4inst.structures import DomainBatch, Sample
from uda4inst.uda.mixing import Origin

Make = Callable[..., UDA4Inst]
MakePainter = Callable[..., Painter]
MakeBatch = Callable[..., DomainBatch]

CAR, TRAIN, MOTORCYCLE = 2, 5, 6
WITH_TRAIN = (0, 32, 8, 64, TRAIN)
WITH_CAR = (24, 0, 32, 8, CAR)
ALL_ON: dict[str, Any] = {
    "mixing": {"patch_max_area": 80, "blur": True},
    "pool": {"draw_by_rarity": True, "area_budget": 0.2, "colours": "realigned"},
    "unsure_threshold": 0.3,
    "min_visible_share": 0.2,
    "adaptive_threshold": {"enabled": True, "momentum": 0.5},
    "soft_weights": True,
    "confidence": {"mask_scaling": 0.9, "point_filter": 0.8},
}


def three(batch: DomainBatch) -> DomainBatch:
    """Return three pairs: with a car and a train, with nothing, with a car and a train."""
    source, target = batch.source, batch.target
    return DomainBatch((*source, source[0]), (*target, target[0]))


def doubting(painter: MakePainter) -> Painter:
    """Return a student sure of a car at the left, and half sure of one at the right."""
    student = painter([(0, 0, 16, 16), (0, 32, 16, 48)], [CAR, CAR])
    with torch.no_grad():
        student.classes[1] *= 0.35
    return student


# Whole-box patches and blur


def l_shaped(batch: DomainBatch, label: int) -> DomainBatch:
    """Turn the first source's car into an L in a box of 8x16; the rest of the box is background."""
    instances = batch.source[0].known_instances()
    ids = instances.ids
    ids.zero_()
    ids[24:32, 0:4] = 1
    ids[28:32, 4:16] = 1
    instances.labels[0] = label
    return DomainBatch(batch.source[:1], batch.target[:1])


def test_patches__show_the_whole_box_in_s2t(make_method: Make, batch: DomainBatch) -> None:
    method = make_method(mixing={"patch_max_area": 80}, lab_alignment=False)
    views = method.prepare(l_shaped(batch, CAR), 0)
    mixed = made(views.mixed["s2t"][0])
    assert (mixed.origin[24:32, 0:16] == Origin.SOURCE_INSTANCE).all()
    assert (mixed.origin == Origin.SOURCE_INSTANCE).sum() == 8 * 16
    assert torch.equal(mixed.image[:, 24:32, 0:16], batch.source[0].image[:, 24:32, 0:16])
    assert mixed.instances.areas()[-2] == 4 * 8 + 12 * 4


def test_patches__show_the_whole_box_in_t2s(
    make_method: Make, painter: MakePainter, batch_of: MakeBatch
) -> None:
    student = painter([(0, 0, 8, 8)], [CAR])
    with torch.no_grad():  # an L of cells; upsampling blurs its edges, so its box is a little more
        student.masks[0, 0, 1] = -8.0
    batch = batch_of(WITH_CAR)
    areas: list[int] = []
    for patch_max_area in (0, 64):
        method = make_method(
            student, mixing={"patch_max_area": patch_max_area}, lab_alignment=False
        )
        mixed = made(method.prepare(batch, 0).mixed["t2s"][0])
        areas.append(int((mixed.origin == Origin.PSEUDO_LABEL).sum()))
    rows, columns = (mixed.origin == Origin.PSEUDO_LABEL).nonzero().unbind(1)
    assert areas[0] < areas[1]
    assert areas[1] == int((rows.max() + 1) * (columns.max() + 1))


def test_patches__come_from_the_pool_too(make_method: Make, batch: DomainBatch) -> None:
    method = make_method(mixing={"patch_max_area": 80})
    method.prepare(l_shaped(batch, TRAIN), 0)
    views = method.prepare(DomainBatch(batch.source[1:], batch.target[1:]), 1)
    assert (made(views.mixed["s2t"][0]).origin[24:32, 0:16] == Origin.POOL).all()


def test_blur__softens_what_s2t_pastes_and_stores(make_method: Make, batch_of: MakeBatch) -> None:
    method = make_method(mixing={"blur": True}, lab_alignment=False)
    batch = batch_of(WITH_TRAIN)
    views = method.prepare(batch, 0)
    image, train = batch.source[0].image, (slice(0, 8), slice(32, 64))
    blurred = blur_5x5(image)
    assert torch.equal(made(views.mixed["s2t"][0]).image[:, *train], blurred[:, *train])
    assert torch.equal(made(views.mixed["t2s"][0]).image[:, *train], image[:, *train])
    assert torch.equal(views.pool[0].image, blurred[:, *train])
    assert torch.equal(views.source[0].image, image)


# Rare classes that the teacher is not followed on


@pytest.mark.parametrize(
    ("pool", "labels"),
    [
        pytest.param({}, {CAR, TRAIN}, id="paper"),
        pytest.param({"pseudo_labels": False}, {CAR}, id="left-out"),
        pytest.param({"pseudo_labels": False, "enabled": False}, {CAR, TRAIN}, id="no-pool"),
    ],
)
def test_pool__rare_pseudo_labels(
    make_method: Make,
    painter: MakePainter,
    batch: DomainBatch,
    pool: dict[str, bool],
    labels: set[int],
) -> None:
    student = painter([(0, 0, 16, 16), (0, 32, 16, 48)], [CAR, TRAIN])
    views = make_method(student, pool=pool).prepare(batch, 0)
    assert set(views.pseudo_labels[0].labels.tolist()) - {-1} == labels


# One batch of plain source, S2T and T2S


def test_thirds__train_on_one_image_of_every_pair(
    make_method: Make, batch: DomainBatch, criterion: Criterion
) -> None:
    method = make_method(mixing={"batch": "thirds"})
    torch.manual_seed(0)
    views = method.prepare(three(batch), 0)
    terms = list(method.losses(views, 0))
    assert [m is not None for m in views.mixed["s2t"]] == [False, True, False]
    assert [m is not None for m in views.mixed["t2s"]] == [False, False, True]
    assert [t.name for t in terms] == ["mixed/class", "mixed/mask", "mixed/dice"]
    assert [t.weight for t in terms] == [2, 5, 5]
    assert painter_of(method).sizes == [3]
    crops = [views.source[0], made(views.mixed["s2t"][1]), made(views.mixed["t2s"][2])]
    torch.manual_seed(0)
    expected = criterion(
        method.context.student(torch.stack([c.image for c in crops])),
        [c.known_instances() if isinstance(c, Sample) else c.instances for c in crops],
    )
    torch.testing.assert_close(sum(t.weight * t.value for t in terms), expected.total)


def test_thirds__use_the_pool_where_they_mix(make_method: Make, batch: DomainBatch) -> None:
    method = make_method(mixing={"batch": "thirds"})
    assert method.prepare(three(batch), 0).pool == ()  # the pair that is S2T has nothing rare
    turned = DomainBatch(batch.source[::-1], batch.target[::-1])
    views = method.prepare(three(turned), 1)
    assert [entry.label for entry in views.pool] == [TRAIN]


def test_thirds__repeat_every_three_pairs(make_method: Make, batch: DomainBatch) -> None:
    six = DomainBatch(three(batch).source * 2, three(batch).target * 2)
    views = make_method(mixing={"batch": "thirds"}).prepare(six, 0)
    assert [i for i, m in enumerate(views.mixed["s2t"]) if m is not None] == [1, 4]
    assert [i for i, m in enumerate(views.mixed["t2s"]) if m is not None] == [2, 5]


# Pseudo-labels


def test_unsure__is_ignored_in_s2t_and_never_pasted(
    make_method: Make, painter: MakePainter, batch_of: MakeBatch
) -> None:
    right = (slice(2, 14), slice(34, 46))
    batch = batch_of((0, 32, 8, 40, CAR))
    without = make_method(doubting(painter)).prepare(batch, 0)
    views = make_method(doubting(painter), unsure_threshold=0.3).prepare(batch, 0)
    assert (without.pseudo_labels[0].ids[right] == 0).all()
    assert (views.pseudo_labels[0].ids[right] == -1).all()
    assert views.pseudo_labels[0].labels.tolist() == without.pseudo_labels[0].labels.tolist()
    s2t, t2s = made(views.mixed["s2t"][0]), made(views.mixed["t2s"][0])
    assert (s2t.instances.ids[10:14, 34:46] == -1).all()
    assert (s2t.instances.ids[0:8, 32:40] > 0).all()
    assert (t2s.instances.ids >= 0).all()
    assert torch.equal(t2s.origin, made(without.mixed["t2s"][0]).origin)


def test_unsure__is_of_learned_classes_alone(
    make_method: Make, painter: MakePainter, batch_of: MakeBatch
) -> None:
    config = {"unsure_threshold": 0.3, "groups": "one", "classes": ("person", "rider")}
    (labels,) = make_method(doubting(painter), **config).prepare(batch_of(), 0).pseudo_labels
    assert (labels.ids == 0).all()


@pytest.mark.parametrize(("share", "kept"), [(0.0, 2), (0.5, 1)], ids=["off", "on"])
def test_min_visible_share__drops_a_duplicate(
    make_method: Make, painter: MakePainter, batch_of: MakeBatch, share: float, kept: int
) -> None:
    student = painter([(0, 0, 16, 24), (0, 0, 16, 32)], [CAR, CAR])
    with torch.no_grad():
        student.classes[1] *= 0.8
    method = make_method(student, min_visible_share=share)
    (labels,) = method.prepare(batch_of(), 0).pseudo_labels
    assert int((labels.labels >= 0).sum()) == kept


def test_adaptive__keeps_more_of_a_class_the_teacher_is_less_sure_of(
    make_method: Make, painter: MakePainter, batch_of: MakeBatch
) -> None:
    student = painter([(0, 0, 16, 16), (0, 32, 16, 48)], [CAR, TRAIN])
    with torch.no_grad():
        student.classes[1] *= 0.45  # scores about .8
    config = {"enabled": True, "momentum": 0.0}
    plain, adaptive = make_method(student), make_method(student, adaptive_threshold=config)
    for method, expected in (
        (plain, [0, 0, 1, 0, 0, 0, 0, 0]),
        (adaptive, [0, 0, 1, 0, 0, 1, 0, 0]),
    ):
        figures = method.figures(method.prepare(batch_of(), 0))
        assert figures["pseudo_labels"].values.tolist() == expected


def test_soft_weights__are_the_teachers_scores(make_method: Make, batch: DomainBatch) -> None:
    views = make_method(soft_weights=True).prepare(batch, 0)
    for index in range(2):
        scores = views.detections[index].scores
        s2t, t2s = made(views.mixed["s2t"][index]), made(views.mixed["t2s"][index])
        assert s2t.weights is not None
        assert t2s.weights is not None
        assert torch.equal(s2t.weights[: len(scores)], scores)
        assert (s2t.weights[len(scores) :] == 1).all()
        assert torch.equal(t2s.weights[-len(scores) :], scores)
        assert (t2s.weights[: -len(scores)] == 1).all()


def test_soft_weights__lower_the_terms_of_pseudo_labels(
    make_method: Make, painter: MakePainter, batch_of: MakeBatch
) -> None:
    values: list[list[float]] = []
    for soft in (False, True):
        torch.manual_seed(0)
        method = make_method(painter(sureness=3.0), soft_weights=soft, score_threshold=0.1)
        values.append(
            [float(t.value.detach()) for t in method.losses(method.prepare(batch_of(), 0), 0)]
        )
    assert all(soft < hard for hard, soft in zip(*values, strict=True))


def test_confidence__scales_pseudo_labels_and_bars_unsure_pixels(
    make_method: Make, painter: MakePainter, batch: DomainBatch
) -> None:
    method = make_method(
        painter(sureness=2.0),
        score_threshold=0.3,
        lab_alignment=False,
        confidence={"mask_scaling": 0.4, "point_filter": 0.9},
    )
    views = method.prepare(batch, 0)
    s2t, t2s = (made(views.mixed[way][0]) for way in ("s2t", "t2s"))
    assert s2t.confidence is not None
    assert t2s.confidence is not None
    # S2T: a source instance is sure, a pseudo-label at most as sure as its class.
    assert (s2t.confidence[s2t.origin == Origin.SOURCE_INSTANCE] == 1).all()
    found = views.detections[0]
    own = s2t.confidence[s2t.instances.ids == 1].float()
    assert bool((own <= found.class_scores[0]).all())
    torch.testing.assert_close(own.mean(), found.scores[0], rtol=0.05, atol=0.0)
    # T2S: the source is sure, what is pasted keeps what it had.
    pasted = t2s.origin == Origin.PSEUDO_LABEL
    assert (t2s.confidence[~pasted] == 1).all()
    assert torch.equal(t2s.confidence[pasted], s2t.confidence[pasted])
    student = {view.name: view for view in method._student_views(views)}
    scales, candidates = student["t2s"].mask_scales, student["t2s"].candidates
    assert scales is not None
    assert candidates is not None
    slot = int(t2s.instances.ids[pasted][0]) - 1
    of_slot = t2s.confidence[t2s.instances.ids == slot + 1].float()
    assert scales[0][slot] == (of_slot > 0.4).float().mean()
    assert 0 < scales[0][slot] < 1
    assert scales[0][:2].tolist() == [1, 1]
    assert torch.equal(candidates[0], t2s.confidence.float() >= 0.9)


def test_confidence__is_one_on_the_ego_vehicle(make_method: Make, batch_of: MakeBatch) -> None:
    method = make_method(confidence={"point_filter": 0.8}, lab_alignment=False)
    mixed = made(method.prepare(batch_of(ego_rows=4), 0).mixed["s2t"][0])
    assert mixed.confidence is not None
    assert (mixed.confidence[-4:] == 1).all()
    assert (mixed.confidence[:-4] < 1).any()


# All of it


def test_options__are_off_by_default(make_method: Make, batch: DomainBatch) -> None:
    method = make_method()
    views = method.prepare(batch, 0)
    assert all(made(m).weights is None for m in (*views.mixed["s2t"], *views.mixed["t2s"]))
    assert all(made(m).confidence is None for m in (*views.mixed["s2t"], *views.mixed["t2s"]))
    for view in method._student_views(views):
        assert (view.slot_weights, view.mask_scales, view.candidates) == (None, None, None)
    assert all((labels.ids >= 0).all() for labels in views.pseudo_labels)
    assert method.state_dict()["adaptive"] is None


@pytest.mark.parametrize("joint", [True, False], ids=["jointly", "apart"])
def test_options__together_reach_every_parameter(
    make_method: Make, painter: MakePainter, batch: DomainBatch, joint: bool
) -> None:
    method = make_method(doubting(painter), joint_forward=joint, **ALL_ON)
    terms = list(method.losses(method.prepare(batch, 0), 0))
    torch.stack([t.weight * t.value for t in terms]).sum().backward()
    assert [t.name.split("/")[0] for t in terms] == ["s2t"] * 3 + ["t2s"] * 3
    gradients = [p.grad for p in method.context.student.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)


@pytest.mark.parametrize("mixing", ["pairs", "thirds"])
def test_options__never_look_at_values_on_a_device(
    make_method: Make,
    painter: MakePainter,
    batch: DomainBatch,
    monkeypatch: pytest.MonkeyPatch,
    mixing: str,
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    config = {**ALL_ON, "mixing": {**ALL_ON["mixing"], "batch": mixing}}
    method = make_method(doubting(painter), **config)
    first, third = three(batch).source[:1], three(batch).source[2:]
    method.prepare(DomainBatch((batch.source[1], *first, *third), three(batch).target), 0)
    assert len(method.rare_classes.pool) > 0
    on_meta = make_method(method.context.student.to("meta"), **config)
    stored = method.rare_classes.pool.state_dict()
    on_meta.rare_classes.pool.load_state_dict(stored, device="meta")
    views = on_meta.prepare(three(batch), 1)
    mixed = made(views.mixed["s2t"][1])
    assert mixed.image.device.type == "meta"
    assert len(mixed.instances) == 16 + 0 + 1


@pytest.mark.gpu
def test_options__never_stop_the_gpu(
    make_method: Make, painter: MakePainter, batch: DomainBatch
) -> None:
    method = make_method(doubting(painter).to("cuda"), **ALL_ON)
    batch = pinned(batch)
    method.prepare(batch, 0)  # first use of a kernel may synchronise
    torch.cuda.set_sync_debug_mode("error")
    try:
        method.prepare(batch, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_options__continue_as_if_unbroken(
    make_method: Make, painter: MakePainter, batch: DomainBatch
) -> None:
    unbroken = make_method(doubting(painter), seed=3, **ALL_ON)
    for step in range(4):
        unbroken.prepare(batch, step)
        with torch.no_grad():
            painter_of(unbroken).classes.mul_(1.01)
    file = io.BytesIO()
    torch.save(unbroken.state_dict(), file)
    file.seek(0)
    student = doubting(painter)
    student.load_state_dict(unbroken.context.student.state_dict())
    resumed = make_method(student, seed=3, **ALL_ON)
    resumed.teacher.load_state_dict(unbroken.teacher.state_dict())  # a file of its own
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for step in (4, 5):
        left, right = unbroken.prepare(batch, step), resumed.prepare(batch, step)
        for way in ("s2t", "t2s"):
            for a, b in zip(left.mixed[way], right.mixed[way], strict=True):
                assert torch.equal(made(a).image, made(b).image)
                assert torch.equal(made(a).instances.ids, made(b).instances.ids)
                one, other = made(a).weights, made(b).weights
                assert one is not None
                assert other is not None
                assert torch.equal(one, other)
    assert str(unbroken.state_dict()["pool"]) == str(resumed.state_dict()["pool"])
    assert torch.equal(
        unbroken.state_dict()["adaptive"]["means"], resumed.state_dict()["adaptive"]["means"]
    )
