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
which cannot be imported as published. What is not listed is as in the paper.

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
Shape         fin: instances up to 1500 px are pasted as whole boxes (labels stay masks). Ours: the
              mask, as paper and v1.
Place         release: shifted by depth and at random. Ours: same location, as paper, v1 and fin.
Blur          v1: 5x5 Gaussian over the source image before pasting (S2T), fin: from the second
              instance on; neither when the first is too small. Ours: none, as paper.
Vanished      code: instances covered whole stay as empty masks to be matched. Ours: not matched.
Loss          v1: two forwards of the batch, fixed 0.4/0.6. fin: a batch of exactly three, one plain
              source, one S2T, one T2S image, in one unweighted forward normalised together.
              Ours: any batch, every pair gives both views; `joint_forward` only saves time: views
              are normalised apart. Weights are `mixing.s2t_weight`, `mixing.t2s_weight` (paper:
              0.4/0.6, Synscapes 0.75/0.25; folder names in v1 say the latter for SYNTHIA).
              Without either direction: plain source training, the teacher follows but is not asked.
Rare pool     paper: FIFO of 10, a random half pasted when the source image has no rare instance,
              S2T only. Code: stores whole crops, blurred or not; deletes the 4 oldest after a draw
              that finds > 10, so it can hold more in between; rare ids are constants. Ours: an
              11th entry pushes out the oldest at once; boxes are stored; one pool per process;
              classes by name.
              v1: no draw without an instance that passes the size filter. Ours: always, as fin.
              As in both: pairs are handled in order, so one may draw what an earlier one stored.
LAB           paper: cites He et al., CVPR 2021. v1: probably offline, each source image to one
              random target image. fin: online, crop to paired crop, after augmentation, before
              pseudo-labelling. Ours: as fin.
Optimisation  see `training/optim.py`; pairing and augmentation: see `data/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int64
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
    view_losses,
)
from uda4inst.methods.config import MethodConfig
from uda4inst.models.criterion import Criterion
from uda4inst.models.decode import decode
from uda4inst.models.ema import EmaTeacher
from uda4inst.structures import Detections, DomainBatch, InstanceMap, Sample, TargetSample
from uda4inst.uda.mixing import Mixed, Origin, mix
from uda4inst.uda.pseudo_labels import select
from uda4inst.uda.randomness import step_generator
from uda4inst.uda.rare_class_pool import PoolEntry, RareClassPool, RareInstance, rare_instances


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
        self.thresholds = class_thresholds(config)
        self.pool = RareClassPool(config.pool.size, draw_share=config.pool.draw_share)
        self.last_views: Views | None = None

    def losses(self, batch: DomainBatch, step: int) -> Iterator[LossTerm]:
        """Yield "s2t/class", "s2t/mask", "s2t/dice", then the same of "t2s"."""
        views = self.last_views = self.prepare(batch, step)
        mixing = self.config.mixing
        student_views: list[StudentView] = []
        if mixing.s2t:
            student_views.append(mixed_view("s2t", views.s2t, weight=mixing.s2t_weight))
        if mixing.t2s:
            student_views.append(mixed_view("t2s", views.t2s, weight=mixing.t2s_weight))
        if not student_views:
            student_views.append(sample_view("source", views.source))
        yield from view_losses(
            student_views,
            forward=self.forward,
            criterion=self.criterion,
            joint=self.config.joint_forward,
        )

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
        pseudo_labels = self._select(detections, batch.target)
        pairs = list(zip(source, batch.target, pseudo_labels, strict=True))
        s2t: tuple[Mixed, ...] = ()
        if mixing.s2t:
            entries = self._balance_rare_classes(source, rare, step)
            s2t = tuple(self._s2t(*pair, drawn) for pair, drawn in zip(pairs, entries, strict=True))
        t2s = tuple(self._t2s(*pair) for pair in pairs) if mixing.t2s else ()
        return Views(
            source=source,
            target=batch.target,
            detections=detections,
            pseudo_labels=pseudo_labels,
            s2t=s2t,
            t2s=t2s,
            pool=self.pool.entries,
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

    def _select(
        self, detections: Sequence[Detections], target: Sequence[TargetSample]
    ) -> tuple[InstanceMap, ...]:
        """Return the pseudo-labels of every target crop, of the classes learned here."""
        self.thresholds = self.thresholds.to(device_of(self.student))
        return tuple(
            select(
                found,
                score_threshold=self.thresholds,
                valid=sample.valid,
                min_valid_share=self.config.ego.min_valid_share,
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

    def _balance_rare_classes(
        self, source: Sequence[Sample], rare: Sequence[tuple[RareInstance, ...]], step: int
    ) -> list[tuple[PoolEntry, ...]]:
        """Store every crop's rare instances, or draw from the pool for a crop that has none."""
        if not self.config.pool.enabled:
            return [() for _ in source]
        generator = step_generator(seed=self.seed, rank=self.rank, step=step)
        drawn: list[tuple[PoolEntry, ...]] = []
        for sample, instances in zip(source, rare, strict=True):
            for instance in instances:
                self.pool.store(sample, instance, step=step)
            drawn.append(() if instances else self.pool.draw(generator))
        return drawn

    def _s2t(
        self,
        source: Sample,
        target: TargetSample,
        pseudo_labels: InstanceMap,
        drawn: Sequence[PoolEntry],
    ) -> Mixed:
        """Paste source instances, then pool entries, into a target crop."""
        return mix(
            target.image,
            pseudo_labels,
            source.image,
            source.instances,
            origin=Origin.SOURCE_INSTANCE,
            min_area=self.config.mixing.min_area,
            pool=drawn,
        )

    def _t2s(self, source: Sample, target: TargetSample, pseudo_labels: InstanceMap) -> Mixed:
        """Paste pseudo-labels into a source crop."""
        return mix(
            source.image,
            source.instances,
            target.image,
            pseudo_labels,
            origin=Origin.PSEUDO_LABEL,
            min_area=self.config.mixing.min_area,
        )

    def after_update(self, step: int) -> None:
        """Nothing to do: the teacher moves at the start of the next step, as in the paper."""

    def pseudo_label_counts(self) -> Int64[Tensor, 8] | None:
        """Return kept pseudo-labels of the last step per class, on the device; None before."""
        if self.last_views is None or not self.last_views.pseudo_labels:
            return None
        return count_labels(self.last_views.pseudo_labels)

    def state_dict(self) -> dict[str, Any]:
        """Return teacher weights, pool and update count; of this process."""
        assert self.teacher is not None
        return {
            "teacher": self.teacher.state_dict(),
            "pool": self.pool.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        assert self.teacher is not None
        self.teacher.load_state_dict(state["teacher"])
        self.pool.load_state_dict(state["pool"], device=device_of(self.student))
        self.updates = state["updates"]
