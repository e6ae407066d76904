"""What a method is to the training loop and the app.

A method is one file that reads like its paper, its configuration beside it. It is built from small
functions and objects of `uda4inst.uda`, never by inheritance; the loop knows the `Method` protocol
alone, everybody else its `MethodSpec`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float32
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from uda4inst.classes import (
    CATEGORY_GROUPINGS,
    NUM_THINGS,
    GroupingName,
    ThingClasses,
)
from uda4inst.detections import Detections
from uda4inst.models.network import Network
from uda4inst.settings import ClassName, Settings
from uda4inst.structures import (
    DomainBatch,
    InstanceMap,
    Sample,
    SemanticMap,
    TargetSample,
    require,
)
from uda4inst.tasks.base import Loss, Task
from uda4inst.uda.class_mixing import ClassMixed
from uda4inst.uda.mixing import Mixed
from uda4inst.uda.pixel_labels import PixelLabels
from uda4inst.uda.rare_class_pool import PoolEntry

# What a method is shown: labelled source images alone, pairs of these and unlabelled target images,
# or labelled target images.
Mode = Literal["source", "pair", "labelled"]
# Images (B, 3, H, W) in [0, 1] to predictions: the student, or what wraps it across processes.
Forward = Callable[[Tensor], Any]
# A network that is not trained, and images: its prediction, in the precision that was asked for.
Infer = Callable[[nn.Module, Tensor], Any]
# Mixed images of one direction, one a pair; None for a pair that is not mixed this way.
Direction = tuple[Mixed | None, ...]
# Instances of every thing class in the source data set, counted when asked for.
SourceCounts = Callable[[], Sequence[int]]
_GROUPINGS: Final = ", ".join(CATEGORY_GROUPINGS)
# Settings of several methods, written once.
ScoreThreshold = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="A detection scoring more becomes a pseudo-label; score = class probability "
        "x mean mask probability (paper: 0.9).",
    ),
]
EmaDecay = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="Weight of the old teacher in each update (papers: 0.999, DACS: 0.99).",
    ),
]


def _check_groups(groups: tuple[tuple[str, ...], ...], names: Sequence[str]) -> None:
    """Raise unless every class is in exactly one group."""
    listed = [name for group in groups for name in group]
    twice = [name for name in names if listed.count(name) > 1]
    missing = [name for name in names if name not in listed]
    if twice or missing or not all(groups):
        alone = len(names) == NUM_THINGS
        faults = [
            f"{', '.join(names)} {what}"
            for names, what in ((twice, "in more than one"), (missing, "in none"))
            if names
        ]
        raise ValueError(
            f"method.groups must hold each of the {'eight' if alone else len(names)} classes in "
            f"exactly one group, got {' and '.join(faults) or 'an empty group'}. Complete the "
            f"groups, or take {f'one of {_GROUPINGS}' if alone else 'one'}"
        )


class MethodConfig(Settings):
    """What every method's configuration has. Subclasses narrow `name` to their own."""

    name: str
    groups: GroupingName | tuple[tuple[ClassName, ...], ...] = Field(
        default="two",
        description="Category groups, one network each (paper, Table 4): two (people and cycles; "
        "vehicles), one (no groups), table4_2 to table4_4, or lists of class names.",
    )
    classes: tuple[ClassName, ...] = Field(
        default=(),
        description="The only classes this network learns; everything else is background. Set by "
        "a run of several groups for each of its modules. None: all.",
    )
    own_classes: tuple[str, ...] = Field(
        default=(),
        description="Classes beside the eight, as the class maps of the data name them under own, "
        "in that order. They take groups of one, or lists that hold them. None: the eight alone.",
    )

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
        return cast("object", groups)

    @model_validator(mode="after")
    def _check_categories(self) -> MethodConfig:
        things = self.thing_classes
        for name in (*(name for group in self.category_groups for name in group), *self.classes):
            things.index(name)
        _check_groups(self.category_groups, things.names)
        if self.classes and len(self.category_groups) > 1:
            raise ValueError(
                "method.classes must be empty where method.groups makes several networks, got "
                f"{', '.join(self.classes)}. Set method.groups=one"
            )
        return self

    @property
    def category_groups(self) -> tuple[tuple[str, ...], ...]:
        """The classes of every network of the run."""
        if self.groups == "one":
            return (self.thing_classes.names,)
        if isinstance(self.groups, str):
            return CATEGORY_GROUPINGS[self.groups]
        return self.groups

    @property
    def thing_classes(self) -> ThingClasses:
        """The things there are, learned by this network or not."""
        return ThingClasses(self.own_classes)

    @property
    def class_labels(self) -> tuple[int, ...]:
        """Thing indices this network learns, ascending."""
        things = self.thing_classes
        return tuple(sorted(things.index(name) for name in self.classes or things.names))

    @property
    def sees(self) -> Mode:
        """What the method is shown."""
        return "pair"

    @property
    def aligns_colours(self) -> bool:
        """Whether source crops are recoloured while training."""
        return False

    def student_images(self, batch_size: int) -> int:
        """Return how many images the student sees in a step: what memory grows with."""
        return batch_size

    def check_batch(self, size: int) -> None:
        """Raise where a batch of so many pairs cannot be trained on.

        Raises:
            ValueError: the size does not fit; the message says which does.
        """

    def hashed(self) -> dict[str, Any]:
        """Return the settings that change results, as JSON has them; what is not used is out."""
        return self.model_dump(mode="json")

    @property
    def left_to_source(self) -> tuple[str, ...]:
        """Dotted names of the settings that `with_source` proposes."""
        return ()

    def with_source(self, counts: SourceCounts) -> MethodConfig:
        """Return the configuration with everything named that is proposed from the source."""
        del counts
        return self


def in_full_precision(network: nn.Module, images: Tensor) -> Any:
    """Return a network's prediction in fp32, whatever precision is set around."""
    with torch.autocast(images.device.type, enabled=False):
        return network(images)


def _as_it_is(network: nn.Module) -> Forward:
    """Return a network that one process trains in full precision."""
    return network


def _unknown_start() -> Network:
    """Stand for the start where nobody said what it was."""
    raise ValueError("MethodContext.build_start must be given to a method that needs it, got none.")


def _unknown_rate() -> float:
    """Stand for the learning rate where nobody said what it is."""
    raise ValueError("MethodContext.learning_rate must be given to a method that needs it.")


@dataclass(frozen=True, slots=True, eq=False)
class MethodContext:
    """What a method is built from.

    Args:
        student: the network itself, never a wrapper.
        task: what it predicts.
        loss: the task's, on the student's device.
        forward: how the student is run; across processes, the wrapper.
        infer: how a network is run that is not trained, such as a teacher.
        wrap: makes what runs a network that is trained beside the student, as `forward` runs that.
        build_start: makes the network as it was before any training, whichever run stage 2 goes on
            from.
        learning_rate: the student's at this step.
        seed: the run's seed.
        rank: index of this process.
        steps: of the stage; 0 where that is not known.
    """

    student: Network
    task: Task
    loss: Loss
    forward: Forward
    infer: Infer = in_full_precision
    wrap: Callable[[nn.Module], Forward] = _as_it_is
    build_start: Callable[[], Network] = _unknown_start
    learning_rate: Callable[[], float] = _unknown_rate
    seed: int = 0
    rank: int = 0
    steps: int = 0

    @property
    def device(self) -> torch.device:
        """Where the student lives."""
        return next(self.student.parameters()).device


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method as the rest of the package finds it.

    Args:
        build: makes the method from a context and its configuration.
        config: its configuration, told from others by `name`.
        tasks: names of the tasks it works on.
        stage1: name of the method its stage 1 is; None where both stages are the method itself.
        networks: names of the networks it has, the student first.
        stage1_settings: of its stage 1, whatever the method's own are.
    """

    build: Callable[[MethodContext, Any], Method]
    config: type[MethodConfig]
    tasks: frozenset[str]
    stage1: str | None = None
    networks: tuple[str, ...] = ("student",)
    stage1_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, eq=False)
class LossTerm:
    """One scalar of the loss; the step minimises the sum of weight x value.

    Args:
        name: view and part, such as "s2t/mask".
        value: unweighted, with gradient.
        weight: of the view times of the part.
    """

    name: str
    value: Float32[Tensor, ""]
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A number, or one number a name, that a step leaves in the metrics.

    Args:
        values: a scalar, or one value a name; on any device.
        names: of the values; empty for a scalar.
        summed: added up over processes, or the first process's own.
    """

    values: Tensor
    names: tuple[str, ...] = ()
    summed: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What `prepare` made of a batch, on the student's device: what training sees.

    Parts a method does not make, or that are switched off, are empty. Pseudo-labels come with
    detections and thresholds: the app shows what another threshold would keep.

    Args:
        source: source crops after LAB alignment.
        target: target crops.
        labelled: labelled target crops (methods that see target labels alone).
        detections: the teacher's, before any threshold, per target crop.
        pseudo_labels: those kept; slot k is detection k, label -1 when it was dropped.
            Ignore pixels where the teacher is unsure, if that is asked for.
        pixel_labels: what a network says of every target crop's pixels (semantic methods).
        mixed: images by direction.
        class_mixed: the same of semantic methods.
        class_maps: classes of mixed images as far as they are known, where a loss asks for them.
        pool: the rare-class pool after this step, oldest first.
        thresholds: the score that a detection of each class had to exceed, infinite for classes
            that are not learned; None where there are no pseudo-labels.
        facts: settings worth knowing beside the pictures, as JSON has them.
        shown: what `Method.losses` adds for people to see, by name: maps in [0, 1], one a target
            crop, of any size. "domains" is what a discriminator says, 1 for target.
    """

    source: tuple[Sample, ...] = ()
    target: tuple[TargetSample, ...] = ()
    labelled: tuple[Sample, ...] = ()
    detections: tuple[Detections, ...] = ()
    pseudo_labels: tuple[InstanceMap, ...] = ()
    pixel_labels: tuple[PixelLabels, ...] = ()
    mixed: Mapping[str, Direction] = field(default_factory=dict[str, Direction])
    class_mixed: Mapping[str, tuple[ClassMixed, ...]] = field(
        default_factory=dict[str, tuple[ClassMixed, ...]]
    )
    class_maps: tuple[SemanticMap, ...] = ()
    pool: tuple[PoolEntry, ...] = ()
    thresholds: Float32[Tensor, " things"] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    shown: dict[str, tuple[Tensor, ...]] = field(default_factory=dict[str, tuple[Tensor, ...]])

    def __post_init__(self) -> None:
        if not self.pseudo_labels:
            return
        counts = len(self.pseudo_labels), len(self.detections)
        require(
            counts[0] == counts[1] and self.thresholds is not None,
            "Views.pseudo_labels",
            "come with a Detections each, and with thresholds",
            f"{counts[0]} with {counts[1]} Detections and "
            f"{'no ' if self.thresholds is None else ''}thresholds",
        )


@runtime_checkable
class Method(Protocol):
    """What the loop and the app know of a method.

    Every process computes the same terms in the same order at every step; which terms there are
    depends on the configuration alone, never on data.
    """

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks by name, the student first, which checkpoints hold and which are judged."""
        ...

    def prepare(self, batch: DomainBatch, step: int) -> Views:
        """Make the training images of one step, without gradients; call it once a step.

        Args:
            batch: on any device; labels are read where `Sample.on_host` has them.
            step: the run's step, from 0; random numbers follow from it.
        """
        ...

    def losses(self, views: Views, step: int) -> Iterator[LossTerm]:
        """Run the student on what `prepare` made and yield its losses."""
        ...

    def after_update(self, step: int) -> None:
        """Do what follows the optimizer's update of this step."""
        ...

    def figures(self, views: Views) -> Mapping[str, Figure]:
        """Return numbers about a step for the metrics; nothing is read back from the device."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resume needs beside networks and optimizer (tensors, plain values)."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        ...
