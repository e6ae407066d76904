"""UDA4Inst: self-training on instances mixed in both directions.

Paper: Guo, Xiao, Xue, Gómez, López, "UDA4Inst: Unsupervised Domain Adaptation for Instance
Segmentation", arXiv 2405.09682 v1/v2 (its Algorithm 1 is `losses`). Student f_w, teacher f_v,
source (x_S, y_S), target x_T, step t of stage 2:

    v <- a_t v + (1 - a_t) w,  a_t = min(1 - 1/(t + 1), 0.999)                       EMA teacher
    y'_T = {(class, mask) of f_v(x_T) : class probability x mean mask probability > 0.9}
    (x_S2T, y_S2T) = (x_T, y'_T) with y_S pasted on top, at the same location, then rare instances
    (x_T2S, y_T2S) = (x_S, y_S) with y'_T pasted on top, at the same location
    L = 0.4 L_M2F(f_w(x_S2T), y_S2T) + 0.6 L_M2F(f_w(x_T2S), y_T2S)

Departures. "v1": the authors' code nearest to the paper (gyc-code/metric-guided-fusion@1bddc39);
"fin": their last (@6faaf31, Jan 2025; later paper versions); "release": gyc-code/UDA4Inst@77acff4,
which cannot be imported as published. What is not listed is as in the paper, and so are all
defaults; options that follow the code, or that are ours, are named with their switch.

Networks      paper: one per category group, two groups. Code: the same, always 8 classes; merged
              instances keep the labels any network gave them. Ours: one run, one network per group
              (`training/category_groups.py`), this file trains one of them; classes of the other
              groups are background to it, and what it finds of them is no pseudo-label and not
              merged.
Start, end    paper: selection not stated. v1: stage 2 starts from, and results are, `model_best`,
              chosen on Cityscapes val, so with target labels; fin: starts from `model_final`. All
              report students only. Ours: last checkpoints, target labels choose nothing, student
              and teacher both reported.
EMA           v1, fin: t counts from 1; release: from 10,001, so no warm-up; parameters only.
              Ours: t from 0, the first update copies the student (which the teacher still equals
              then); buffers are copied. As in all: at the start of the step, teacher in fp32.
Precision     v1: student losses in fp32 too. Ours: the student in the run's precision.
Overlaps      code: no suppression, overlapping and duplicate pseudo-labels are all kept; so are
              overlaps among pasted instances (last painted wins the pixels, both keep the mask).
              Ours: the better score owns a pixel; an id map is disjoint by construction.
              `min_visible_share` drops what this leaves of duplicates (slivers).
Ego vehicle   v1: pseudo-masks cut by a fixed template whose crop and flip were drawn apart from the
              image's (a bug). fin: template transformed with its image, a pseudo-label with < 20 %
              of its area off the ego vehicle is dropped, others stay whole.
              Ours: as fin, and the pixels on the ego vehicle are cut from those that stay.
None kept     v1: never skips; its check counts record fields, not instances. fin: the image stays a
              plain source sample; if no image has any, the whole step is skipped. Ours: as v1, on
              purpose: S2T is then source instances on an otherwise unlabelled target crop (its
              own objects count as background) and T2S is the plain source sample. Terms never
              depend on data, or processes would wait for each other.
Size filter   paper: none. v1: only instances of >= 3000 px are pasted, fin: >= 300 px; in the
              augmented crop, both directions. Ours: `mixing.min_area`, 0 by default; base instances
              and pseudo-labels below it stay labelled, as in the code.
              v1: an image without a source instance that large stays a source image, unmixed.
              Ours: it is mixed with none (or with pool entries alone, as fin).
Shape         fin: instances up to 1500 px are pasted as whole boxes (labels stay masks; what the
              rest of a box covers keeps its label). Ours: the mask, as paper and v1;
              `mixing.patch_max_area` pastes boxes, pool entries too, and takes the labels off what
              they cover; other objects seen in them that are not pasted are ignored.
Place         release: shifted by depth and at random. Ours: same location, as paper, v1 and fin.
Blur          v1: 5x5 Gaussian over the source image before pasting (S2T), fin: from the second
              instance on; neither when the first is too small; the pool stores it blurred. Ours:
              none, as paper; `mixing.blur` blurs whatever S2T pastes, the pool stores it so.
Vanished      code: instances covered whole stay as empty masks to be matched. Ours: not matched.
Loss          v1: two forwards of the batch, fixed 0.4/0.6. fin: a batch of exactly three, one plain
              source, one S2T, one T2S image, in one unweighted forward normalised together.
              Ours: any batch, every pair gives both views; `joint_forward` only saves time: views
              are normalised apart. Weights are `mixing.s2t_weight`, `mixing.t2s_weight` (paper:
              0.4/0.6, Synscapes 0.75/0.25; folder names in v1 say the latter for SYNTHIA).
              `mixing.batch=thirds` is fin's: of every three pairs, the first gives its source
              crop, the second S2T, the third T2S, in one unweighted loss.
              Without either direction: plain source training, the teacher follows but is not asked.
Rare pool     paper: FIFO of 10, a random half pasted when the source image has no rare instance,
              S2T only. Code: stores whole crops, blurred or not; deletes the 4 oldest after a draw
              that finds > 10, so it can hold more in between; rare ids are constants. Ours: an
              11th entry pushes out the oldest at once; boxes are stored; one pool per process;
              classes by name.
              v1: no draw without an instance that passes the size filter. Ours: always, as fin.
              As in both: pairs are handled in order, so one may draw what an earlier one stored.
              `pool.draw_by_rarity` draws classes stored less often more often, `pool.area_budget`
              pastes large entries less often (ours).
LAB           paper: cites He et al., CVPR 2021. v1: probably offline, each source image to one
              random target image. fin: online, crop to paired crop, after augmentation, before
              pseudo-labelling. Ours: as fin.
Uncertainty   paper and code: what scores too little is background, what scores enough counts in
              full. Ours, each off by default: `adaptive_threshold` (a threshold per class, after
              FlexMatch), `unsure_threshold` (detections in between are ignored; they stay so in
              S2T and are never pasted), `soft_weights` (loss terms times the teacher's score).
Optimisation  see `training/optim.py`; pairing and augmentation: see `data/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from uda4inst.methods.base import (
    Forward,
    LossTerm,
    StudentView,
    Views,
    aligned_source,
    class_thresholds,
    count_labels,
    device_of,
    mixed_view,
    sample_view,
    thirds_view,
    view_losses,
)
from uda4inst.methods.config import MethodConfig
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.decode import decode
from uda4inst.ops.blur import blur_5x5
from uda4inst.structures import Detections, DomainBatch, InstanceMap, Sample, TargetSample
from uda4inst.uda.adaptive_threshold import AdaptiveThresholds
from uda4inst.uda.mixing import Mixed, Origin, mix
from uda4inst.uda.pseudo_labels import select
from uda4inst.uda.randomness import step_generator
from uda4inst.uda.rare_class_pool import PoolEntry, RareClassPool, RareInstance, rare_instances


class _Pair(NamedTuple):
    """A source crop, and a target crop with its pseudo-labels and what each slot of them counts."""

    source: Sample
    target: TargetSample
    pseudo_labels: InstanceMap
    weights: Float32[Tensor, " N"] | None


class UDA4Inst:
    """Learns from both mixed views (stage 2). See `uda4inst.methods.base.Method`.

    Args:
        student: the network itself, never a wrapper; the teacher starts as its copy.
        criterion: the loss.
        config: which parts are on, and their values.
        forward: how the student is run; across processes, the wrapper. Default: the student.
        seed: the run's seed, for draws from the pool.
        rank: index of this process; every process has its own pool and its own draws.
    """

    def __init__(
        self,
        student: nn.Module,
        criterion: Criterion,
        config: MethodConfig,
        *,
        forward: Forward | None = None,
        seed: int = 0,
        rank: int = 0,
    ) -> None:
        self.student = student
        self.forward: Forward = forward or student
        self.criterion = criterion
        self.config = config
        self.seed = seed
        self.rank = rank
        self.teacher: EmaTeacher[nn.Module] | None = EmaTeacher(student, ema_decay=config.ema_decay)
        self.updates = 0
        self.thresholds = class_thresholds(config, config.score_threshold)
        self.unsure: Tensor | None = None
        if config.unsure_threshold is not None:
            self.unsure = class_thresholds(config, config.unsure_threshold)
        self.adaptive: AdaptiveThresholds | None = None
        if config.adaptive_threshold.enabled:
            values = config.adaptive_threshold
            self.adaptive = AdaptiveThresholds(
                self.thresholds, momentum=values.momentum, floor=values.floor
            )
        self.pool = RareClassPool(
            config.pool.size,
            draw_share=config.pool.draw_share,
            area_budget=config.pool.area_budget,
            by_rarity=config.pool.draw_by_rarity,
        )
        self.last_views: Views | None = None

    def losses(self, batch: DomainBatch, step: int) -> Iterator[LossTerm]:
        """Yield "s2t/class", "s2t/mask", "s2t/dice", then the same of "t2s" (or of "mixed")."""
        views = self.last_views = self.prepare(batch, step)
        yield from view_losses(
            self._student_views(views),
            forward=self.forward,
            criterion=self.criterion,
            joint=self.config.joint_forward,
        )

    def _student_views(self, views: Views) -> list[StudentView]:
        """Return what the student is trained on; which views there are, the configuration says."""
        mixing = self.config.mixing
        if mixing.batch == "thirds":
            return [thirds_view("mixed", views)]
        student_views: list[StudentView] = []
        if mixing.s2t:
            student_views.append(mixed_view("s2t", views.s2t, weight=mixing.s2t_weight))
        if mixing.t2s:
            student_views.append(mixed_view("t2s", views.t2s, weight=mixing.t2s_weight))
        return student_views or [sample_view("source", views.source)]

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Update the teacher, make pseudo-labels, and mix in both directions.

        Teacher and pool move on, so this is called once a step.

        Raises:
            ValueError: the batch lacks source or target samples.
        """
        config, mixing = self.config, self.config.mixing
        rare = self._rare_instances(batch.source)  # read while labels are on the host
        batch = batch.to(device_of(self.student))
        source = aligned_source(batch, lab_alignment=config.lab_alignment)
        self._update_teacher()
        if not (mixing.s2t or mixing.t2s):
            return Views(source=source, target=batch.target)
        detections = self._detect(batch.target)
        thresholds = self._class_thresholds(detections)
        pseudo_labels = self._select(detections, batch.target, thresholds)
        weights = [found.scores if config.soft_weights else None for found in detections]
        crops = zip(source, batch.target, pseudo_labels, weights, strict=True)
        pairs = [_Pair(*pair) for pair in crops]
        return Views(
            source=source,
            target=batch.target,
            detections=detections,
            pseudo_labels=pseudo_labels,
            s2t=self._s2t(pairs, rare, step) if mixing.s2t else (),
            t2s=self._t2s(pairs) if mixing.t2s else (),
            pool=self.pool.entries,
            thresholds=thresholds,
        )

    def _update_teacher(self) -> None:
        """Move the teacher towards the student."""
        assert self.teacher is not None
        self.teacher.update(self.student, self.updates)
        self.updates += 1

    def _detect(self, target: Sequence[TargetSample]) -> tuple[Detections, ...]:
        """Return the teacher's detections on every target crop."""
        assert self.teacher is not None
        if not target:
            raise ValueError("DomainBatch.target must hold one sample per source sample, got 0.")
        images = torch.stack([sample.image for sample in target])
        with torch.autocast(images.device.type, enabled=False):
            return tuple(decode(self.teacher.model(images)))

    def _class_thresholds(self, detections: Sequence[Detections]) -> Float32[Tensor, 8]:
        """Return the score that a detection of each class must exceed at this step."""
        if self.adaptive is not None:
            return self.adaptive.update(detections)
        self.thresholds = self.thresholds.to(device_of(self.student))
        return self.thresholds

    def _select(
        self,
        detections: Sequence[Detections],
        target: Sequence[TargetSample],
        thresholds: Float32[Tensor, 8],
    ) -> tuple[InstanceMap, ...]:
        """Return the pseudo-labels of every target crop, of the classes learned here."""
        self.unsure = None if self.unsure is None else self.unsure.to(thresholds.device)
        return tuple(
            select(
                found,
                score_threshold=thresholds,
                valid=sample.valid,
                min_valid_share=self.config.ego.min_valid_share,
                min_visible_share=self.config.min_visible_share,
                unsure_threshold=self.unsure,
            )
            for found, sample in zip(detections, target, strict=True)
        )

    def _rare_instances(self, source: Sequence[Sample]) -> list[tuple[RareInstance, ...]]:
        """Return the rare instances of every source crop that will be pasted."""
        pool, min_area = self.config.pool, self.config.mixing.min_area
        return [
            rare_instances(s.instances, rare_labels=pool.rare_labels, min_area=min_area)
            for s in source
        ]

    def _s2t(
        self, pairs: Sequence[_Pair], rare: Sequence[tuple[RareInstance, ...]], step: int
    ) -> tuple[Mixed | None, ...]:
        """Paste source instances, then pool entries, into the target crops."""
        mixing = self.config.mixing
        generator = step_generator(seed=self.seed, rank=self.rank, step=step)
        mixed: list[Mixed | None] = [None] * len(pairs)
        for index, (source, target, pseudo_labels, weights) in enumerate(pairs):
            if not mixing.makes_s2t(index):
                continue
            if mixing.blur:
                source = replace(source, image=blur_5x5(source.image))
            drawn = self._balance_rare_classes(source, rare[index], generator, step)
            mixed[index] = mix(
                target.image,
                pseudo_labels,
                source.image,
                source.instances,
                origin=Origin.SOURCE_INSTANCE,
                min_area=mixing.min_area,
                patch_max_area=mixing.patch_max_area,
                pool=drawn,
                base_weights=weights,
            )
        return tuple(mixed)

    def _balance_rare_classes(
        self,
        source: Sample,
        rare: tuple[RareInstance, ...],
        generator: torch.Generator,
        step: int,
    ) -> tuple[PoolEntry, ...]:
        """Store a crop's rare instances, or draw from the pool for a crop that has none."""
        if not self.config.pool.enabled:
            return ()
        for instance in rare:
            self.pool.store(source, instance, step=step)
        return () if rare else self.pool.draw(generator)

    def _t2s(self, pairs: Sequence[_Pair]) -> tuple[Mixed | None, ...]:
        """Paste pseudo-labels into the source crops."""
        mixing = self.config.mixing
        mixed: list[Mixed | None] = [None] * len(pairs)
        for index, (source, target, pseudo_labels, weights) in enumerate(pairs):
            if not mixing.makes_t2s(index):
                continue
            mixed[index] = mix(
                source.image,
                source.instances,
                target.image,
                pseudo_labels,
                origin=Origin.PSEUDO_LABEL,
                min_area=mixing.min_area,
                patch_max_area=mixing.patch_max_area,
                pasted_weights=weights,
            )
        return tuple(mixed)

    def after_update(self, step: int) -> None:
        """Nothing to do: the teacher moves at the start of the next step, as in the paper."""

    def pseudo_label_counts(self) -> Int64[Tensor, 8] | None:
        """Return kept pseudo-labels of the last step per class, on the device; None before."""
        if self.last_views is None or not self.last_views.pseudo_labels:
            return None
        return count_labels(self.last_views.pseudo_labels)

    def state_dict(self) -> dict[str, Any]:
        """Return teacher weights, pool, running scores and update count; of this process."""
        assert self.teacher is not None
        return {
            "teacher": self.teacher.state_dict(),
            "pool": self.pool.state_dict(),
            "adaptive": None if self.adaptive is None else self.adaptive.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        assert self.teacher is not None
        self.teacher.load_state_dict(state["teacher"])
        self.pool.load_state_dict(state["pool"], device=device_of(self.student))
        if self.adaptive is not None:
            self.adaptive.load_state_dict(state["adaptive"])
        self.updates = state["updates"]
