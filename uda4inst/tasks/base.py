"""What is predicted and how it is judged: all that differs between instances and semantics.

Training, evaluation, the run folder and the app know this protocol; nothing else in them depends
on what is predicted. A task is found by the network's preset (`uda4inst.tasks.task_of`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32
from numpy.typing import NDArray
from torch import Tensor, nn

from uda4inst.evaluation.scoring import ImagesDone
from uda4inst.models.mask2former.kernels import DeformableKernel
from uda4inst.models.network import LoadReport, Network
from uda4inst.structures import InstanceMap, Labels, Sample, SemanticMap

Measures = tuple[str, str]
# What a predictions file holds that can be read again: detections of the 8 things
# (`formats.predictions`), or maps of the 19 classes (`formats.label_maps`).
PredictionsKind = Literal["detections", "label maps"]
Target = InstanceMap | SemanticMap  # what a network learns to predict of one image


@dataclass(frozen=True, slots=True, eq=False)
class StudentView:
    """Images the student is trained on, what it should say of them, and the view's name and weight.

    Args:
        name: such as "s2t"; names its losses.
        weight: of all its losses.
        images: RGB in [0, 1], all of one size.
        targets: one an image, of the task's kind.
        slot_weights: how much every slot of every instance map counts; None for 1.
        mask_scales: how much every slot's mask counts, in loss and normalisation; None for 1.
        candidates: where a mask's least certain points are looked for; None for everywhere.
    """

    name: str
    weight: float
    images: Sequence[Float32[Tensor, "3 H W"]]
    targets: Sequence[Target]
    slot_weights: Sequence[Float32[Tensor, " _"]] | None = None
    mask_scales: Sequence[Float32[Tensor, " _"]] | None = None
    candidates: Sequence[Bool[Tensor, "H W"]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LossPart:
    """One part of a view's loss.

    Args:
        name: such as "mask".
        value: unweighted, with gradient.
        weight: of this part beside the others.
    """

    name: str
    value: Float32[Tensor, ""]
    weight: float


class Loss(nn.Module):
    """What the student minimises."""

    @abstractmethod
    def parts(
        self, predictions: Sequence[Any], views: Sequence[StudentView]
    ) -> Sequence[Sequence[LossPart]]:
        """Return the parts of every view, each view normalised on its own.

        The same parts in the same order at every step, on every process, whatever the data: an
        empty map is an ordinary value. All views are handled together, with one host
        synchronisation at the most.

        Args:
            predictions: of the network, one a view.
            views: what it should have said.
        """


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A trained network and how it is run.

    Args:
        network: on `device`.
        classes: names of those it answers for.
        device: where the forward runs.
        short_side: images are resized to this shorter side first; None takes them as they are.
    """

    network: Network
    classes: tuple[str, ...]
    device: torch.device
    short_side: int | None = None


class LabelledSet(Protocol):
    """What evaluation needs of a data set; a labelled `uda4inst.data.tree.ImageTree` has it."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def basename(self, index: int) -> str:
        """Return the image's name."""
        ...

    def read_image(self, index: int) -> Any:
        """Return an image as RGB, uint8 (H, W, 3)."""
        ...

    def read_instance_ids(self, index: int) -> Any:
        """Return the labels as raw Cityscapes instance ids, (H, W)."""
        ...

    def read_semantic(self, index: int) -> Any:
        """Return trainIds, uint8 (H, W), 255 ignore."""
        ...


@runtime_checkable
class Task(Protocol):
    """What is predicted: networks, loss, labels, judgement."""

    @property
    def name(self) -> str:
        """What it is called: "instances", "semantic"."""
        ...

    @property
    def labels(self) -> Labels:
        """Which labels of an image the loader must read."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """What can be predicted, in the order of the network's classes."""
        ...

    @property
    def presets(self) -> tuple[str, ...]:
        """Names of the networks there are."""
        ...

    @property
    def protocols(self) -> tuple[str, ...]:
        """Ways to judge, the headline's first."""
        ...

    @property
    def measures(self) -> tuple[str, str]:
        """Keys of a protocol's result over all classes, the headline first."""
        ...

    @property
    def class_measures(self) -> tuple[str, str]:
        """Keys of a protocol's result for one class, in the order of `measures`."""
        ...

    @property
    def further_protocols(self) -> Mapping[str, tuple[Measures, Measures]]:
        """Ways to judge on request alone, each with its `measures` and `class_measures`."""
        ...

    @property
    def class_sets(self) -> Mapping[str, tuple[str, ...]]:
        """Parts of the classes over which the headline is a mean of its own, by its key."""
        ...

    @property
    def has_groups(self) -> bool:
        """Whether one network per category group can be trained."""
        ...

    def build_network(
        self,
        preset: str,
        *,
        weights: str | Path | None,
        gradient_checkpointing: bool = False,
        deformable_kernel: DeformableKernel = "torch",
    ) -> tuple[Network, LoadReport]:
        """Return a network in training mode on the CPU, and what was loaded into it.

        Args:
            preset: one of `presets`.
            weights: see the configuration's `model.weights`; None draws from torch's generator.
            gradient_checkpointing: compute parts of the forward pass twice, for less memory.
            deformable_kernel: see the configuration's `model.deformable_kernel`.

        Raises:
            UserError: unknown preset; weights missing, unreadable or of another architecture.
        """
        ...

    def build_loss(self, *, num_points: int) -> Loss:
        """Return the loss; `num_points` is for losses on masks."""
        ...

    def target_of(self, sample: Sample) -> Target:
        """Return the labels of a sample that this task learns from.

        Raises:
            ValueError: the sample was read without them.
        """
        ...

    def evaluate(
        self,
        network: Network,
        dataset: LabelledSet,
        *,
        device: torch.device | str,
        protocols: Sequence[str],
        short_side: int | None = None,
        limit: int | None = None,
        classes: Sequence[str] | None = None,
        predictions_path: Path | None = None,
        progress: ImagesDone | None = None,
    ) -> dict[str, Any]:
        """Judge a network; it is left in the mode it came in, and no random number is drawn.

        Args:
            network: on `device`.
            dataset: labelled images.
            device: where the forward runs.
            protocols: which of the task's.
            short_side: resize images to this shorter side first; None takes them as they are.
                Judged is always at the image's own size.
            limit: only the first so many images.
            classes: names of those the network answers for; None for all.
            predictions_path: where to write what was judged, whole or not at all, and beside it the
                scores by resample (`evaluation.resampling`); None for nowhere.
            progress: called after every image with (done, all).

        Returns:
            For every protocol `measures` and `per_class` with `class_measures`, in [0, 1]; None
            where there is nothing to judge.

        Raises:
            UserError: a protocol is unknown, a file cannot be read, sizes differ.
        """
        ...

    def found(self, prediction: Any) -> Any:
        """Return what a network finds in a batch, at the images' size, on its device."""
        ...

    def predictions_name(self, network: str) -> str:
        """Return the name of the file that holds a network's predictions in a run folder."""
        ...

    @property
    def predictions_kind(self) -> PredictionsKind | None:
        """What that file holds, for error maps and FiftyOne; None: nothing that they can show."""
        ...

    def write_pictures(
        self,
        networks: Sequence[TrainedNetwork],
        images: Callable[[], Iterator[NDArray[np.uint8]]],
        *,
        names: Sequence[str],
        out: Path,
        score_threshold: float,
    ) -> None:
        """Write what networks say of pictures: drawn, and in the task's file format.

        Args:
            networks: one, or one a category group.
            images: reads the pictures, RGB, from the first one on; it is called more than once.
            names: of the results, one a picture.
            out: an existing folder.
            score_threshold: lowest score drawn, where there are scores; files hold all.

        Raises:
            UserError: a picture cannot be read.
            OSError: the folder cannot be written to.
        """
        ...


def measures_of(task: Task, protocol: str) -> tuple[Measures, Measures]:
    """Return the measures of a protocol over all classes, and for one class."""
    return task.further_protocols.get(protocol, (task.measures, task.class_measures))
