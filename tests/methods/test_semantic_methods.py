"""Losses of the semantic methods against their formulas, and whom each update moves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uda4inst.errors import UserError
from uda4inst.methods.adversarial import Adversarial, AdversarialConfig
from uda4inst.methods.base import LossTerm, MethodContext
from uda4inst.methods.dacs import DACS, DACSConfig
from uda4inst.methods.daformer import DAFormer, DAFormerConfig
from uda4inst.methods.ehtdi import EHTDI, EHTDIConfig
from uda4inst.methods.meta_pseudo_labels import MetaPseudoLabels, MetaPseudoLabelsConfig
from uda4inst.models.semantic.build import build_semantic
from uda4inst.structures import DomainBatch, Sample, SemanticMap, TargetSample
from uda4inst.tasks.semantic import SEMANTIC
from uda4inst.uda.edges import boundary_band

SIZE = (32, 64)
STEPS = 100


def batch(seed: int = 0, *, block: int = 8) -> DomainBatch:
    """Two pairs; the source crops show things and other classes in blocks, ignored rows above."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(7, 19, (2, SIZE[0] // block, SIZE[1] // block), generator=generator)
    ids = drawn.to(torch.uint8).repeat_interleave(block, 1).repeat_interleave(block, 2)
    ids[:, :2] = 255
    images = torch.rand(4, 3, *SIZE, generator=generator)
    source = [Sample(images[i], f"s{i}", "source", None, SemanticMap(ids[i])) for i in (0, 1)]
    valid = torch.ones(SIZE, dtype=torch.bool)
    return DomainBatch(
        tuple(source), tuple(TargetSample(images[i], valid, f"t{i}") for i in (2, 3))
    )


def context(preset: str = "bisenet_tiny", *, steps: int = STEPS, lr: float = 0.01) -> MethodContext:
    def build() -> Any:
        torch.manual_seed(3)
        return build_semantic(preset, weights=None)[0]

    student = build()
    loss = SEMANTIC.build_loss(num_points=1)
    return MethodContext(
        student,
        SEMANTIC,
        loss,
        student,
        build_start=build,
        learning_rate=lambda: lr,
        steps=steps,
    )


def usual_confidence(around: MethodContext) -> float:
    """Return the median confidence of the student's start on the batch's target images."""
    images = torch.stack([sample.image for sample in batch().target])
    with torch.no_grad():
        return float(around.student(images).at_pixels().softmax(1).amax(1).median())


def total(terms: list[LossTerm]) -> torch.Tensor:
    return torch.stack([t.weight * t.value for t in terms]).sum()


def moved(network: nn.Module) -> bool:
    """Whether any parameter has a gradient, which is then forgotten."""
    has = any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
    network.zero_grad(set_to_none=True)
    return has


def names(terms: list[LossTerm]) -> list[str]:
    return [term.name for term in terms]


def test_dacs__is_source_and_weighted_mixed_cross_entropy() -> None:
    around = context("mit_tiny")
    threshold = usual_confidence(around)
    method = DACS(around, DACSConfig.model_validate({"quality": {"threshold": threshold}}))
    views = method.prepare(batch(), 0)
    terms = list(method.losses(views, 0))
    assert names(terms) == ["source/pixels", "s2t/pixels"]
    (mixed_term,) = [t for t in terms if t.name == "s2t/pixels"]
    mixed = views.class_mixed["s2t"]
    logits = around.student(torch.stack([m.image for m in mixed])).at_pixels().detach()
    expected, counted = 0.0, 0
    for one, said in zip(mixed, logits, strict=True):
        losses = F.cross_entropy(
            said[None], one.semantic.ids[None].long(), ignore_index=255, reduction="none"
        )[0]
        assert one.semantic.weights is not None
        expected += float((losses * one.semantic.weights).sum())
        counted += int((one.semantic.ids != 255).sum())
    assert mixed_term.value.item() == pytest.approx(expected / counted, rel=1e-4)
    weights = {round(float(w), 4) for m in mixed for w in m.semantic.weights.unique()}  # pyright: ignore[reportOptionalMemberAccess]
    assert 1.0 in weights
    assert len(weights) > 1


def test_dacs__the_teacher_follows_parameters_and_has_statistics_of_its_own() -> None:
    around = context("bisenet_tiny")
    method = DACS(around, DACSConfig())
    before = {k: v.clone() for k, v in method.networks["teacher"].named_buffers()}
    student = {k: v.clone() for k, v in around.student.named_buffers()}
    method.prepare(batch(), 0)
    teacher = dict(method.networks["teacher"].named_buffers())
    assert any(not torch.equal(teacher[k], v) for k, v in before.items())
    after = dict(around.student.named_buffers())
    assert all(torch.equal(after[k], v) for k, v in student.items())


def test_daformer__distance_is_to_the_start_and_can_be_left_out() -> None:
    around = context("daformer_tiny")
    method = DAFormer(around, DAFormerConfig())
    terms = {t.name: t for t in method.losses(method.prepare(batch(block=32), 0), 0)}
    assert list(terms) == ["source/pixels", "source/features", "s2t/pixels"]
    assert terms["source/features"].weight == 0.005
    around.student.eval()  # no dropout: the student is still its start
    terms = {t.name: t for t in method.losses(method.prepare(batch(block=32), 0), 0)}
    assert terms["source/features"].value.item() == pytest.approx(0.0, abs=1e-4)
    with torch.no_grad():
        for parameter in around.student.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    terms = {t.name: t for t in method.losses(method.prepare(batch(block=32), 0), 0)}
    assert terms["source/features"].value.item() > 0.01
    plain = DAFormer(
        context("daformer_tiny"),
        DAFormerConfig.model_validate({"feature_distance": {"weight": 0.0}}),
    )
    assert names(list(plain.losses(plain.prepare(batch(block=32), 0), 0))) == [
        "source/pixels",
        "s2t/pixels",
    ]


def test_ehtdi__parts_and_where_pixels_come_from() -> None:
    around = context("deeplab_tiny")
    given, sure = batch(), usual_confidence(around)
    method = EHTDI(around, EHTDIConfig.model_validate({"confidence": sure}))
    views = method.prepare(given, 0)
    for index, (s2t, t2s) in enumerate(
        zip(views.class_mixed["s2t"], views.class_mixed["t2s"], strict=True)
    ):
        truth = given.source[index].known_semantic().ids
        pasted = s2t.origin > 0
        assert torch.equal(s2t.semantic.ids[pasted], truth[pasted])
        assert (truth[pasted] > 4).all()
        assert (truth[pasted] != 255).all()
        kept = t2s.origin == 0
        assert torch.equal(t2s.semantic.ids[kept], truth[kept])
        assert kept.any()
        assert not kept.all()
        known = views.class_maps[index].ids
        assert torch.equal(known[pasted], truth[pasted])
        assert torch.equal(known[~pasted & ~kept], t2s.semantic.ids[~pasted & ~kept])
        assert (known[~pasted & kept] == 255).all()
    terms = list(method.losses(views, 0))
    assert {t.name: t.weight for t in terms} == pytest.approx(
        {
            "source/pixels": 1,
            "source/aux": 0.1,
            "s2t/pixels": 0.1,
            "s2t_aux0/pixels": 0.01,
            "t2s/pixels": 0.1,
            "contrast/positions": 0.01,
            "contrast/classes": 0.01,
        }
    )
    assert all(math.isfinite(t.value.item()) for t in terms)


def test_ehtdi__with_edges_the_pure_target_decides_what_goes_into_the_source() -> None:
    around = context("deeplab_tiny")
    given, sure = batch(), usual_confidence(around)
    method = EHTDI(around, EHTDIConfig.model_validate({"confidence": sure, "edges": True}))
    views = method.prepare(given, 0)
    for index, (s2t, t2s) in enumerate(
        zip(views.class_mixed["s2t"], views.class_mixed["t2s"], strict=True)
    ):
        truth = given.source[index].known_semantic().ids
        alone, pasted = views.pixel_labels[index], s2t.origin > 0
        taken = (alone.confidence > sure) | pasted
        assert torch.equal(t2s.origin > 0, taken)
        assert (taken & ~pasted).any()
        assert not taken.all()
        expected = torch.where(taken & ~pasted, alone.best, truth)
        assert torch.equal(t2s.semantic.ids, expected)
        assert torch.equal(t2s.image[:, taken], s2t.image[:, taken])
    terms = list(method.losses(views, 0))
    assert {t.name: t.weight for t in terms if "edges" in t.name or "aux" in t.name} == (
        pytest.approx(
            {
                "source/aux": 0.1,
                "s2t_edges/pixels": 0.1,
                "s2t_edges_aux0/pixels": 0.01,
                "s2t_aux0/pixels": 0.01,
                "t2s_edges/pixels": 0.01,
                "t2s_aux0/pixels": 0.001,
            }
        )
    )
    (rims,) = [t for t in terms if t.name == "s2t_edges/pixels"]
    mixed = views.class_mixed["s2t"]
    logits = around.student(torch.stack([m.image for m in mixed])).at_pixels().detach()
    maps = torch.stack([m.semantic.ids for m in mixed]).long()
    for one, m in zip(maps, mixed, strict=True):
        one[~boundary_band(m.origin > 0)] = 255
    expected = F.cross_entropy(logits, maps, ignore_index=255).item()
    assert rims.value.item() == pytest.approx(expected, rel=1e-4)


def test_adversarial__neither_side_moves_the_other() -> None:
    around = context()
    method = Adversarial(around, AdversarialConfig())
    discriminator = method.others["discriminator"].network
    views = method.prepare(batch(), 0)
    assert views.pixel_labels == ()
    for name, student_moves, other_moves in (
        ("source/pixels", True, False),
        ("target/adversarial", True, False),
        ("discriminator", False, True),
    ):
        (term,) = [t for t in method.losses(views, 0) if t.name == name]
        term.value.backward()
        assert (moved(around.student), moved(discriminator)) == (student_moves, other_moves), name
    assert [tuple(m.shape) for m in views.shown["domains"]] == [SIZE, SIZE]


def test_adversarial__labels_from_its_share_on_by_the_student_as_it_was() -> None:
    around = context(steps=4)
    method = Adversarial(around, AdversarialConfig(pseudo_labels_from=0.5))
    labelled: list[bool] = []
    copied: list[torch.Tensor] = []
    for step in range(4):
        views = method.prepare(batch(), step)
        labelled.append(bool(views.pixel_labels))
        assert ("target/pixels" in names(list(method.losses(views, step)))) == labelled[-1]
        if step == 2:
            copied = [p.clone() for p in around.student.parameters()]
        with torch.no_grad():
            for parameter in around.student.parameters():
                parameter.add_(0.01)
        method.after_update(step)
        teacher = list(method.networks["teacher"].parameters())
        expected = copied if step >= 2 else list(around.student.parameters())
        assert all(torch.equal(a, b) for a, b in zip(teacher, expected, strict=True)), step
    assert labelled == [False, False, True, True]


def test_meta__the_stage_before_teaches_and_the_student_begins_anew() -> None:
    around = context()
    before = Adversarial(around, AdversarialConfig())
    discriminator = before.game.discriminator
    with torch.no_grad():
        for network in (around.student, discriminator):
            for parameter in network.parameters():
                parameter.add_(0.5)
    learned = [p.clone() for p in around.student.parameters()]
    method = MetaPseudoLabels(around, MetaPseudoLabelsConfig())
    method.begin({"discriminator": discriminator.state_dict()})
    start = around.build_start()
    pairs = (
        (method.networks["teacher"].parameters(), learned),
        (around.student.parameters(), list(start.parameters())),
        (
            method.teacher_game.discriminator.parameters(),
            list(discriminator.parameters()),
        ),
    )
    for found, expected in pairs:
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def meta(done: int, **config: Any) -> tuple[MetaPseudoLabels, Any]:
    method = MetaPseudoLabels(context(), MetaPseudoLabelsConfig.model_validate(config))
    method.load_state_dict({"steps_done": done})
    return method, method.prepare(batch(), done)


@pytest.mark.parametrize(
    ("done", "factor"),
    [(0, None), (1, None), (2, math.exp(1 / 40) - 1), (50, math.exp(25 / 40) - 1), (52, 1.0)],
)
def test_meta__feedback_is_the_reports_product(done: int, factor: float | None) -> None:
    method, views = meta(done)
    student = {t.name: t for t in method.losses(views, 0)}
    products = [
        sum(
            t.weight * t.value.item()
            for n, t in student.items()
            if n.startswith(f"{side}/") and not n.endswith("adversarial")
        )
        for side in ("source", "target")
    ]
    teacher = {t.name: t for t in method.teacher_losses(views, 0)}
    expected = 1.0 if factor is None else factor * 0.01 * products[0] * products[1]
    assert teacher["feedback"].value.item() == pytest.approx(expected, rel=1e-4)
    assert teacher["feedback"].weight == 0


def test_meta__feedback_by_improvement_is_what_the_update_did_on_source() -> None:
    method, views = meta(60, feedback="improvement")
    first = list(method.losses(views, 0))
    before = sum(t.weight * t.value.item() for t in first if t.name.startswith("source/"))
    optimizer = torch.optim.SGD(method.context.student.parameters(), lr=0.5)
    total([t for t in first if t.name.startswith("source/")]).backward()
    optimizer.step()
    after_terms = list(method.losses(views, 0))
    after = sum(t.weight * t.value.item() for t in after_terms if t.name.startswith("source/"))
    method._before = (torch.tensor(before), torch.tensor(0.0))
    feedback = method._feedback(views)
    assert feedback.item() == pytest.approx(before - after, rel=1e-3)
    assert feedback.item() > 0


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_meta__each_update_moves_its_own(chance: float) -> None:
    method, views = meta(60, noise_chance=chance)
    student, teacher = method.context.student, method.networks["teacher"]
    judges = [method.game.discriminator, method.teacher_game.discriminator]
    total(list(method.losses(views, 0))).backward()
    assert [moved(n) for n in (student, teacher, *judges)] == [True, False, True, False]
    terms = list(method.teacher_losses(views, 0))
    total(terms).backward()
    assert [moved(n) for n in (student, teacher, *judges)] == [False, True, False, True]
    assert ("teacher_noisy/pixels" in names(terms)) == (chance == 1.0)
    assert [update.trains for update in method.updates] == [
        ("student", "discriminator"),
        ("teacher", "teacher_discriminator"),
    ]


def test_meta__a_setting_of_the_teachers_optimizer_leaves_the_others() -> None:
    config = MetaPseudoLabelsConfig.model_validate({"teacher_optim": {"lr": 0.5}})
    optim = MetaPseudoLabels(context(), config).others["teacher"].optim
    assert (optim.algorithm, optim.lr, optim.weight_decay) == ("sgd", 0.5, 1e-4)


def test_ehtdi__a_setting_of_the_views_leaves_the_others() -> None:
    views = EHTDIConfig.model_validate({"views": {"blur_chance": 0.0}}).views
    assert (views.blur_chance, views.gray_chance) == (0.0, 0.2)


def test_take_over__a_discriminator_of_another_kind_is_refused() -> None:
    method = MetaPseudoLabels(context(), MetaPseudoLabelsConfig())
    other = Adversarial(
        context(), AdversarialConfig.model_validate({"game": {"discriminator": "fcd"}})
    )
    with pytest.raises(UserError, match="discriminator of stage 1, got one of another kind"):
        method.begin({"discriminator": other.game.discriminator.state_dict()})
