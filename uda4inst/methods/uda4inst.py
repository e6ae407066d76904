"""UDA4Inst: self-training on instances mixed in both directions.

Paper: Guo, Xiao, Xue, Gómez, López, "UDA4Inst: Unsupervised Domain Adaptation for Instance
Segmentation", arXiv 2405.09682 v1/v2. One step t of stage 2, student f_w, teacher f_v, source
(x_S, y_S), target x_T; the numbers stand again where each line is done:

    1  x_S <- x_S with the LAB statistics of x_T                              colour alignment
    2  v <- a_t v + (1 - a_t) w,  a_t = min(1 - 1/(t + 1), 0.999)             EMA teacher
    3  D = f_v(x_T)                                                           detections
    4  y'_T = {d in D : class probability x mean mask probability > 0.9}      pseudo-labels
    5  R = rare y_S into the pool; where there are none, half of the pool     rare-class balance
    6  (x_S2T, y_S2T) = (x_T, y'_T) with y_S, then R pasted on top            same places
    7  (x_T2S, y_T2S) = (x_S, y_S) with y'_T pasted on top                    same places
    8  L = 0.4 L_M2F(f_w(x_S2T), y_S2T) + 0.6 L_M2F(f_w(x_T2S), y_T2S)

The departures that change results ("code": the authors'; all of them: docs/methods/uda4inst.md):

1. last checkpoints are reported; the code selects by target labels.
2. overlapping pseudo-labels: the better score owns a pixel; the code keeps both whole.
3. pseudo-labels lose their pixels on the ego vehicle; the code only drops those mostly on it.
4. an image without pseudo-labels is mixed as any other; the later code leaves it a source image.
5. no smallest area; the code pastes from 3000 (later 300) pixels on (`mixing.min_area`).
6. no blur; the code blurs what it pastes (`mixing.blur`).
7. instances covered whole are not matched; in the code they stay as empty masks.
8. every pair gives both views, each normalised alone; the later code trains on thirds
   (`mixing.batch`).
9. the pool never holds more than its size, and one process's pool is its own.
10. the teacher averages parameters and copies buffers; t counts from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from uda4inst.detections import Detections
from uda4inst.methods.base import (
    Direction,
    EmaDecay,
    Figure,
    LossTerm,
    MethodConfig,
    MethodContext,
    MethodSpec,
    ScoreThreshold,
    SourceCounts,
    Views,
)
from uda4inst.methods.steps import (
    aligned_source,
    count_labels,
    mixed_view,
    sample_view,
    thirds_view,
    view_losses,
)
from uda4inst.models.ema import EmaTeacher
from uda4inst.models.mask2former.decode import decode
from uda4inst.models.network import Network
from uda4inst.structures import DomainBatch, TargetSample
from uda4inst.tasks.base import StudentView
from uda4inst.uda.adaptive_threshold import AdaptiveConfig
from uda4inst.uda.confidence import ConfidenceConfig
from uda4inst.uda.mixing import InstanceMixer, MixingConfig, Pair
from uda4inst.uda.pseudo_labels import EgoConfig, PseudoLabeller
from uda4inst.uda.rare_class_balance import PoolConfig, RareClassBalance


class UDA4Inst:
    """Learns from both mixed views (stage 2). See `uda4inst.methods.base.Method`.

    Args:
        context: student, loss, seed; the teacher starts as the student's copy.
        config: which parts are on, and their values.
    """

    def __init__(self, context: MethodContext, config: UDA4InstConfig) -> None:
        self.context = context
        self.config = config
        self.updates = 0
        self.teacher = EmaTeacher(context.student, ema_decay=config.ema_decay)
        self.label = PseudoLabeller(
            config.pseudo_labelled,
            score_threshold=config.score_threshold,
            things=len(config.thing_classes),
            ego=config.ego,
            adaptive=config.adaptive_threshold,
            unsure_threshold=config.unsure_threshold,
            min_visible_share=config.min_visible_share,
            soft_weights=config.soft_weights,
            with_confidence=config.confidence.is_used,
            device=context.device,
        )
        self.rare_classes = RareClassBalance(
            config.pool,
            min_area=config.mixing.min_area,
            seed=context.seed,
            rank=context.rank,
            things=config.thing_classes,
        )
        self.mixer = InstanceMixer(
            config.mixing,
            pool_max_overlap=config.pool.max_overlap,
            rare_labels=self.rare_classes.rare_labels,
            rare_weight=config.rare_weight,
        )

    @property
    def networks(self) -> Mapping[str, Network]:
        """Student and teacher."""
        return {"student": self.context.student, "teacher": self.teacher.model}

    @torch.no_grad()
    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Do lines 1 to 7. Teacher and pool move on, so this is called once a step.

        Raises:
            ValueError: the batch lacks source or target samples.
        """
        mixing = self.config.mixing
        rare = self.rare_classes.find(batch.source)  # read while labels are on the host
        batch = batch.to(self.context.device)
        source = aligned_source(batch, lab_alignment=self.config.lab_alignment)  # ............... 1
        self.teacher.update(self.context.student, self.updates)  # ............................... 2
        self.updates += 1
        if not (mixing.s2t or mixing.t2s):
            return Views(source=source, target=batch.target, facts=self._facts())
        detections = self._detect(batch.target)  # ............................................... 3
        labels = self.label(detections, batch.target)  # ......................................... 4
        of_target = batch.target, labels.maps, labels.weights, labels.confidence
        pairs = [Pair(*crop) for crop in zip(source, *of_target, strict=True)]
        mixed: dict[str, Direction] = {}
        if mixing.s2t:
            pasted = self.mixer.pasted_source(source)
            wanted = [mixing.makes_s2t(index) for index in range(len(pairs))]
            looks = self.rare_classes.looks(batch.target)
            drawn = self.rare_classes.balance(  # ................................................ 5
                pasted, rare, wanted=wanted, looks=looks, step=step, progress=self._progress
            )
            mixed["s2t"] = self.mixer.s2t(pairs, pasted, drawn)  # ............................... 6
        if mixing.t2s:
            mixed["t2s"] = self.mixer.t2s(pairs)  # .............................................. 7
        return Views(
            source=source,
            target=batch.target,
            detections=tuple(found.without_masks() for found in detections),
            pseudo_labels=labels.maps,
            mixed=mixed,
            pool=self.rare_classes.pool.entries,
            thresholds=labels.thresholds,
            facts=self._facts(),
        )

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Do line 8: "s2t/class", "s2t/mask", "s2t/dice", the same of "t2s" (or of "mixed")."""
        del step
        joint = self.config.joint_forward
        yield from view_losses(self._student_views(views), context=self.context, joint=joint)  # . 8

    def _detect(self, target: Sequence[TargetSample]) -> tuple[Detections, ...]:
        """Return the teacher's detections on every target crop."""
        if not target:
            raise ValueError("DomainBatch.target must hold one sample per source sample, got 0.")
        images = torch.stack([sample.image for sample in target])
        return tuple(decode(self.context.infer(self.teacher.model, images)))

    @property
    def _progress(self) -> float:
        """Share of the stage that is done."""
        steps = self.context.steps
        return min(1.0, (self.updates - 1) / steps) if steps else 0.0

    def _student_views(self, views: Views) -> list[StudentView]:
        """Return what the student is trained on; which views there are, the configuration says."""
        mixing, confidence = self.config.mixing, self.config.confidence
        if mixing.batch == "thirds":
            return [thirds_view("mixed", views, confidence=confidence)]
        weights = {"s2t": mixing.s2t_weight, "t2s": mixing.t2s_weight}
        found = [
            mixed_view(name, mixed, weight=weights[name], confidence=confidence)
            for name, mixed in views.mixed.items()
        ]
        return found or [sample_view("source", views.source, self.context.task)]

    def after_update(self, step: int) -> None:
        """Nothing to do: the teacher moves at the start of the next step, as in the paper."""

    def figures(self, views: Views) -> Mapping[str, Figure]:
        """Return the kept pseudo-labels of every class, and how many instances the pool holds."""
        pool = {"pool": Figure(torch.tensor(len(views.pool)), summed=False)}
        if not views.pseudo_labels:
            return pool
        things = self.config.thing_classes
        counts = count_labels(views.pseudo_labels, len(things))
        return {"pseudo_labels": Figure(counts, things.names), **pool}

    def _facts(self) -> dict[str, Any]:
        """Return the settings behind the pictures."""
        config = self.config
        return {
            "score_threshold": config.score_threshold,
            "unsure_threshold": config.unsure_threshold,
            "min_visible_share": config.min_visible_share,
            "rare_classes": list(config.pool.rare_classes),
            "classes": list(config.classes),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return pool, running scores and update count; of this process."""
        return {
            "pool": self.rare_classes.pool.state_dict(),
            "adaptive": self.label.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        self.rare_classes.pool.load_state_dict(state["pool"], device=self.context.device)
        self.label.load_state_dict(state["adaptive"])
        self.updates = state["updates"]


class UDA4InstConfig(MethodConfig):
    """Every part of UDA4Inst is one switch or one value here.

    Defaults follow the paper (arXiv 2405.09682 v1); a description says so where they do not. What
    the authors' later code does differently, and what is ours, is off by default.

    Example: Table 2's rows are `method.mixing.s2t=false method.mixing.t2s=false` (none, source
    only), `method.mixing.t2s=false` (S2T only), `method.mixing.s2t=false` (T2S only) and the
    defaults (both), each with `method.groups=one method.pool.enabled=false`; the last is Table 5's
    M3.
    """

    name: Literal["uda4inst"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] frozen
        default="uda4inst", description="Self-training on instances mixed in both directions."
    )
    ema_decay: EmaDecay = 0.999
    score_threshold: ScoreThreshold = 0.9
    adaptive_threshold: AdaptiveConfig = Field(
        default_factory=AdaptiveConfig, description="Score thresholds per class."
    )
    unsure_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Ignore, instead of calling background, where a detection scores more than "
        "this, yet too little for a pseudo-label (ours). Empty: background (paper).",
    )
    min_visible_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="A pseudo-label of which better ones leave less than this share is dropped: a "
        "duplicate otherwise leaves a sliver (ours). 0: none is (paper).",
    )
    soft_weights: bool = Field(
        default=False,
        description="Weigh what a pseudo-label adds to the loss by its score (ours); off: all "
        "alike (paper).",
    )
    confidence: ConfidenceConfig = Field(
        default_factory=ConfidenceConfig,
        description="What the teacher's confidence in each pixel changes in the loss.",
    )
    rare_weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="How much instances of the pool's rare classes count in the loss, pasted or "
        "not (ours). 1: as all others (paper).",
    )
    lab_alignment: bool = Field(
        default=True,
        description="Give each source crop the LAB colour statistics of its target crop.",
    )
    joint_forward: bool = Field(
        default=True,
        description="One student forward for all views: faster, more memory, the same losses.",
    )
    mixing: MixingConfig = Field(default_factory=MixingConfig, description="Instance mixing.")
    pool: PoolConfig = Field(default_factory=PoolConfig, description="Rare-class pool.")
    ego: EgoConfig = Field(default_factory=EgoConfig, description="Ego-vehicle region.")

    @model_validator(mode="after")
    def _check_rare_classes(self) -> UDA4InstConfig:
        self.pool.rare_labels(self.thing_classes)
        return self

    @model_validator(mode="after")
    def _check_colours(self) -> UDA4InstConfig:
        if self.pool.colours == "realigned" and not self.lab_alignment:
            raise ValueError(
                "method.pool.colours must be stored unless method.lab_alignment is on, got "
                "realigned. Turn the alignment on, or leave the colours stored"
            )
        return self

    @model_validator(mode="after")
    def _check_thresholds(self) -> UDA4InstConfig:
        if self.unsure_threshold is not None and self.unsure_threshold >= self.score_threshold:
            raise ValueError(
                f"method.unsure_threshold must be below method.score_threshold "
                f"({self.score_threshold}), got {self.unsure_threshold}. Lower it, or leave it "
                "empty"
            )
        if self.adaptive_threshold.enabled and self.adaptive_threshold.floor > self.score_threshold:
            raise ValueError(
                "method.adaptive_threshold.floor must be at most method.score_threshold "
                f"({self.score_threshold}), got {self.adaptive_threshold.floor}. Lower it"
            )
        return self

    @property
    def aligns_colours(self) -> bool:
        """Whether source crops are recoloured while training."""
        return self.lab_alignment

    @property
    def draws_from_pool(self) -> bool:
        """Whether the rare-class pool plays a part."""
        return self.mixing.s2t and self.pool.enabled

    @property
    def pseudo_labelled(self) -> tuple[int, ...]:
        """Thing indices of the classes whose detections become pseudo-labels."""
        if self.pool.pseudo_labels or not self.draws_from_pool:
            return self.class_labels
        rare = self.pool.rare_labels(self.thing_classes)
        return tuple(label for label in self.class_labels if label not in rare)

    def student_images(self, batch_size: int) -> int:
        """Return one image a pair and direction, or one a pair."""
        if self.mixing.batch == "thirds":
            return batch_size
        return batch_size * max(1, self.mixing.s2t + self.mixing.t2s)

    def check_batch(self, size: int) -> None:
        """Raise unless thirds come out even."""
        if self.mixing.batch == "thirds" and size % 3:
            raise ValueError(
                "training.batch_size must be a multiple of three with method.mixing.batch=thirds, "
                f"got {size}. Set it to {3 * -(-size // 3)}, or method.mixing.batch=pairs"
            )

    def hashed(self) -> dict[str, Any]:
        """Return the settings; the pool's are out where nothing is drawn from it."""
        values = super().hashed()
        if self.draws_from_pool:
            return values
        rare = {} if self.rare_weight == 1 else {"rare_classes": list(self.pool.rare_classes)}
        return values | {"pool": {"enabled": False, **rare}}

    @property
    def left_to_source(self) -> tuple[str, ...]:
        """Rare classes, where none are named."""
        is_open = self.pool.enabled and not self.pool.rare_classes
        return ("pool.rare_classes",) if is_open else ()

    def with_source(self, counts: SourceCounts) -> UDA4InstConfig:
        """Return the configuration with rare classes named: the rarest of each group if empty."""
        if not self.left_to_source:
            return self
        groups = [self.classes] if self.classes else self.category_groups
        pool = self.pool.proposed(groups, counts(), self.thing_classes)
        return self.model_copy(update={"pool": pool})


SPEC = MethodSpec(
    UDA4Inst,
    UDA4InstConfig,
    tasks=frozenset({"instances"}),
    stage1="source_only",
    networks=("student", "teacher"),
)
