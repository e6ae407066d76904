"""Configuration of a method: every part of UDA4Inst is one switch or one value here.

The app builds its form from this schema, so each field carries a description and its range.
Defaults follow the UDA4Inst paper (arXiv 2405.09682 v1); a description says so where they do not.
What the authors' later code does differently, and what is ours, is off by default.

Example: Table 2's rows are `method.mixing.s2t=false method.mixing.t2s=false` (none, source only),
`method.mixing.t2s=false` (S2T only), `method.mixing.s2t=false` (T2S only) and the defaults (both),
each with `method.groups=one`; Table 5's M3 adds `method.pool.enabled=false` to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from uda4inst.classes import CATEGORY_GROUPINGS, THING_NAMES, thing_index

MethodName = Literal["source_only", "oracle", "uda4inst"]
# Spelled out because a schema lists its choices as literals; tests hold them to
# `CATEGORY_GROUPINGS` and `THING_NAMES`.
GroupingName = Literal["one", "two", "table4_2", "table4_3", "table4_4"]
ThingName = Literal["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]


class _Part(BaseModel):
    """What all parts share: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MixingConfig(_Part):
    """Bidirectional instance mixing (UDA4Inst only)."""

    s2t: bool = Field(
        default=True, description="Paste source instances into the target image (S2T)."
    )
    t2s: bool = Field(default=True, description="Paste pseudo-labels into the source image (T2S).")
    s2t_weight: float = Field(
        default=0.4,
        ge=0,
        le=10,
        description="Weight of the S2T loss. Paper: 0.4 (UrbanSyn, SYNTHIA), 0.75 (Synscapes).",
    )
    t2s_weight: float = Field(
        default=0.6,
        ge=0,
        le=10,
        description="Weight of the T2S loss. Paper: 0.6 (UrbanSyn, SYNTHIA), 0.25 (Synscapes).",
    )
    min_area: int = Field(
        default=0,
        ge=0,
        description="Smallest instance pasted, in pixels of the crop. The paper names none; "
        "the authors' v1 code uses 3000 at 1024x1024, their later code 300.",
    )
    patch_max_area: int = Field(
        default=0,
        ge=0,
        description="Instances of at most so many pixels of the crop are pasted with the whole of "
        "their box, in both directions; their masks stay as they are. 0 for none (paper); the "
        "authors' later code: 1500.",
    )
    blur: bool = Field(
        default=False,
        description="Blur the source image (5x5 Gaussian) before its instances are pasted, in S2T "
        "alone. Not in the paper; the authors' code does.",
    )
    batch: Literal["pairs", "thirds"] = Field(
        default="pairs",
        description="pairs: every pair gives an S2T and a T2S image, each weighted (paper). "
        "thirds: of every three pairs, one plain source, one S2T and one T2S image, all in one "
        "unweighted loss (authors' later code).",
    )

    @model_validator(mode="after")
    def _check_thirds(self) -> MixingConfig:
        if self.batch == "thirds" and not (self.s2t and self.t2s):
            off = "s2t" if self.t2s else "t2s" if self.s2t else "s2t and t2s"
            raise ValueError(
                "method.mixing.batch must be pairs unless both directions are on, got thirds "
                f"without {off}. Set method.mixing.batch=pairs"
            )
        return self

    def makes_s2t(self, pair: int) -> bool:
        """Whether the pair at this place in the batch is mixed source into target."""
        return self.s2t and (self.batch == "pairs" or pair % 3 == 1)

    def makes_t2s(self, pair: int) -> bool:
        """Whether the pair at this place in the batch is mixed target into source."""
        return self.t2s and (self.batch == "pairs" or pair % 3 == 2)


class PoolConfig(_Part):
    """Rare-class balancing (UDA4Inst only, S2T only)."""

    enabled: bool = Field(
        default=True, description="Paste stored rare instances where a source has none."
    )
    size: int = Field(
        default=10, ge=1, le=1000, description="Instances kept, oldest out first (paper: 10)."
    )
    draw_share: float = Field(
        default=0.5, gt=0, le=1, description="Share of the pool pasted at a time (paper: half)."
    )
    area_budget: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of an image that a draw may hide on average, counted in boxes; large "
        "entries are pasted less often to keep to it (ours). None: no limit (paper).",
    )
    rare_classes: tuple[ThingName, ...] = Field(
        default=("train", "motorcycle"),
        description="Classes that count as rare. Paper: train and motorcycle (UrbanSyn, "
        "Synscapes), bus and motorcycle (SYNTHIA). None: the least frequent class of each group "
        "in the source.",
    )
    draw_by_rarity: bool = Field(
        default=False,
        description="Draw an entry the more likely, the less often its class has been stored "
        "(ours); off: each alike (paper).",
    )

    @property
    def rare_labels(self) -> frozenset[int]:
        """Thing indices of the rare classes."""
        return frozenset(thing_index(name) for name in self.rare_classes)


class EgoConfig(_Part):
    """What happens to pseudo-labels on the ego vehicle (UDA4Inst only)."""

    min_valid_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="A pseudo-label with less of its area off the ego vehicle is dropped "
        "(authors' later code: 0.2).",
    )


class AdaptiveConfig(_Part):
    """Score thresholds per class (UDA4Inst only; ours, after FlexMatch, arXiv 2110.08263)."""

    enabled: bool = Field(
        default=False,
        description="Lower the score threshold of a class in proportion to how unsure the teacher "
        "is of it, beside the class it is surest of; off: one threshold (paper).",
    )
    momentum: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="Weight of the old running mean of a class's scores, per step (ours).",
    )
    floor: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Lowest threshold, and lowest score that counts in the running mean (ours).",
    )


def _check_groups(groups: tuple[tuple[str, ...], ...]) -> None:
    """Raise unless every class is in exactly one group."""
    listed = [name for group in groups for name in group]
    twice = [name for name in THING_NAMES if listed.count(name) > 1]
    missing = [name for name in THING_NAMES if name not in listed]
    if twice or missing or not all(groups):
        faults = [
            f"{', '.join(names)} {what}"
            for names, what in ((twice, "in more than one"), (missing, "in none"))
            if names
        ]
        raise ValueError(
            "method.groups must hold each of the eight classes in exactly one group, got "
            f"{' and '.join(faults) or 'an empty group'}. Complete the groups, or take one of "
            f"{', '.join(CATEGORY_GROUPINGS)}"
        )


class MethodConfig(_Part):
    """Which method trains, and its parts."""

    name: MethodName = Field(
        default="uda4inst",
        description="uda4inst, or a bound: source_only (lower) or oracle (upper, target labels).",
    )
    ema_decay: float = Field(
        default=0.999,
        ge=0,
        le=1,
        description="Weight of the old teacher in each update (paper: 0.999).",
    )
    score_threshold: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="A detection scoring more becomes a pseudo-label; score = class probability "
        "x mean mask probability (paper: 0.9).",
    )
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
    lab_alignment: bool = Field(
        default=True,
        description="Give each source crop the LAB colour statistics of its target crop.",
    )
    joint_forward: bool = Field(
        default=True,
        description="One student forward for all views: faster, more memory, the same losses.",
    )
    groups: GroupingName | tuple[tuple[ThingName, ...], ...] = Field(
        default="two",
        description="Category groups, one network each (paper, Table 4): two (people and cycles; "
        "vehicles), one (no groups), table4_2 to table4_4, or lists of class names.",
    )
    classes: tuple[ThingName, ...] = Field(
        default=(),
        description="The only classes this network learns; everything else is background. Set by "
        "a run of several groups for each of its modules. None: all eight.",
    )
    mixing: MixingConfig = Field(default_factory=MixingConfig, description="Instance mixing.")
    pool: PoolConfig = Field(default_factory=PoolConfig, description="Rare-class pool.")
    ego: EgoConfig = Field(default_factory=EgoConfig, description="Ego-vehicle region.")

    @field_validator("groups", mode="before")
    @classmethod
    def _check_group_names(cls, groups: object) -> object:
        """Say what is wrong in one line, where a union of types would say it thrice."""
        if isinstance(groups, str):
            if groups not in CATEGORY_GROUPINGS:
                raise ValueError(
                    f"method.groups must be one of {', '.join(CATEGORY_GROUPINGS)}, or lists of "
                    f"class names, got {groups!r}"
                )
        elif isinstance(groups, list | tuple):
            for group in cast("Sequence[object]", groups):
                if not isinstance(group, list | tuple):
                    raise ValueError(
                        f"method.groups must hold lists of class names, got {group!r}. Write it "
                        "as [[person, rider], [car, ...]]"
                    )
                for name in cast("Sequence[object]", group):
                    thing_index(str(name))
        return cast("object", groups)

    @model_validator(mode="after")
    def _check_categories(self) -> MethodConfig:
        _check_groups(self.category_groups)
        if self.classes and len(self.category_groups) > 1:
            raise ValueError(
                "method.classes must be empty where method.groups makes several networks, got "
                f"{', '.join(self.classes)}. Set method.groups=one"
            )
        return self

    @model_validator(mode="after")
    def _check_thresholds(self) -> MethodConfig:
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
    def draws_from_pool(self) -> bool:
        """Whether the rare-class pool plays a part."""
        return self.name == "uda4inst" and self.mixing.s2t and self.pool.enabled

    @property
    def category_groups(self) -> tuple[tuple[str, ...], ...]:
        """The classes of every network of the run."""
        if isinstance(self.groups, str):
            return CATEGORY_GROUPINGS[self.groups]
        return self.groups

    @property
    def class_labels(self) -> tuple[int, ...]:
        """Thing indices this network learns, ascending."""
        return tuple(sorted(thing_index(name) for name in self.classes or THING_NAMES))
