"""The configuration of a run: typed here, valued in YAML, shown as a form by the app.

Every field carries a description and its range. Unknown keys are errors. The resolved
configuration goes into the run folder and is enough to repeat the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from uda4inst.data.config import DataConfig
from uda4inst.methods import METHODS, any_method_config, default_config
from uda4inst.methods.base import MethodConfig
from uda4inst.methods.updates import Algorithm
from uda4inst.models.mask2former.kernels import DeformableKernel
from uda4inst.models.precision import Precision
from uda4inst.models.semantic.start import STARTS, TOYSTREETS
from uda4inst.run_folder.layout import check_run_name
from uda4inst.settings import Settings
from uda4inst.tasks import TASKS, task_of
from uda4inst.tasks.base import Task
from uda4inst.yaml_dialect import YamlWriter

if TYPE_CHECKING:
    AnyMethodConfig = MethodConfig
else:
    AnyMethodConfig = any_method_config()
# Spelled out because a schema lists its choices as literals; a test holds them to `TASKS`.
PresetName = Literal[
    "tiny",
    "swin_t",
    "swin_s",
    "swin_b",
    "swin_l",
    "r50",
    "r101",
    "mit_tiny",
    "mit_b0",
    "mit_b1",
    "mit_b2",
    "mit_b3",
    "mit_b4",
    "mit_b5",
    "daformer_tiny",
    "daformer_b0",
    "daformer_b1",
    "daformer_b2",
    "daformer_b3",
    "daformer_b4",
    "daformer_b5",
    "deeplab_tiny",
    "deeplab_r50",
    "deeplab_r101",
    "bisenet_tiny",
    "bisenet_r18",
    "bisenet_r101",
]
TrackerName = Literal["wandb", "mlflow", "trackio"]
ProtocolName = Literal["cityscapes", "coco", "pixels", "thing_pixels"]


class RunConfig(Settings):
    """Where the run is kept."""

    root: str = Field(default="runs", min_length=1, description="Folder that holds the runs.")
    name: str = Field(
        default="run",
        description="Name of the run's folder: letters, digits, '.', '_' and '-'. Must be new.",
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_run_name(name)


class ModelConfig(Settings):
    """The network."""

    preset: PresetName = Field(
        default="tiny",
        description="Mask2Former with this backbone, for instances: tiny (3.7 M parameters) is "
        "ToyStreets' own; of swin_t to swin_l there are COCO weights on the hub, of r50 and r101 "
        "(ResNet) in the authors' format, which uda4inst convert reads. For semantic maps: "
        "SegFormer (mit_) and DAFormer (daformer_) with this MiT encoder, of which nvidia/mit-b0 "
        "to mit-b5 are published weights; DeepLabV2 (deeplab_) and BiSeNet (bisenet_) with this "
        "ResNet, of which microsoft/resnet-18, -50 and -101 are. Those that end in tiny (about "
        "1 M) are ToyStreets' own.",
    )
    weights: str | None = Field(
        default=None,
        description="Start from these weights: toystreets (in the package, for presets that end "
        "in tiny: Mask2Former whole, of the others the backbone), a name on the Hugging Face hub, "
        "a local folder in that format, or a .safetensors file. Empty: from scratch.",
    )
    num_points: int = Field(
        default=12544,
        ge=16,
        le=1_000_000,
        description="Points at which the mask losses are taken (Mask2Former: 112 x 112).",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute parts of the forward pass twice: less memory, more time.",
    )
    deformable_kernel: DeformableKernel = Field(
        default="torch",
        description="On a GPU, what samples the deformable attention of Mask2Former's pixel "
        "decoder in training: operations of torch, or one kernel in Triton, which writes no "
        "samples (both measured on a card: docs/gpu.md). Elsewhere it has no effect.",
    )

    @model_validator(mode="after")
    def _check_weights(self) -> ModelConfig:
        if self.weights == TOYSTREETS and self.preset not in (known := ("tiny", *STARTS)):
            raise ValueError(
                f"model.weights=toystreets is the start of presets {', '.join(known)}, got "
                f"model.preset={self.preset}. Set model.weights=null, or name weights of "
                f"{self.preset}"
            )
        return self


class TrainingConfig(Settings):
    """How long, how fast, and what is written on the way."""

    stage1_steps: int = Field(
        default=10_000, ge=0, description="Steps on labelled source images (paper: 10,000)."
    )
    stage2_steps: int = Field(
        default=20_000, ge=0, description="Steps of the method (paper: 20,000)."
    )
    stage2_from: str | None = Field(
        default=None,
        description="Skip stage 1: start stage 2 from the student of this checkpoint folder, or "
        "of a run's latest checkpoint.",
    )
    batch_size: int = Field(
        default=3, ge=1, le=256, description="Images of each domain a step, per process (paper: 3)."
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="Of the student's forward pass. Losses are fp32.",
    )
    inference_precision: Precision = Field(
        default="tf32",
        description="Of networks that are not being trained: the teacher, and what is evaluated. "
        "tf32 is fp32 with shorter factors in products, on GPUs that can; elsewhere it is fp32.",
    )
    deterministic: bool = Field(
        default=False,
        description="On a GPU, choose operations that repeat to the bit where torch has them; "
        "slower. Bilinear sampling's gradient has none. On a CPU runs repeat to the bit anyway.",
    )
    rehearse_memory: bool = Field(
        default=True,
        description="On a GPU, compare the memory that the run is estimated to take with the "
        "card's, and try the largest step of both stages, before the first step.",
    )
    modules_at_once: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Category groups trained at the same time, each in a process and, where there "
        "are several, on a GPU of its own; 1 trains one after another.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="auto takes a GPU if there is one; cuda insists on one.",
    )
    log_every: int = Field(default=1, ge=1, description="Steps between lines of metrics.jsonl.")
    tensorboard_every: int = Field(
        default=10,
        ge=0,
        description="Steps between TensorBoard points; 0 for no TensorBoard files.",
    )
    trackers: tuple[TrackerName, ...] = Field(
        default=(),
        description="Programs that are told the same numbers as often (every 10 steps where "
        "TensorBoard is off): wandb, mlflow, trackio, each installed beside. None by default.",
    )
    snapshot_every: int = Field(
        default=100, ge=0, description="Steps between snapshots of the training images; 0 for none."
    )
    snapshots_kept: int = Field(
        default=20, ge=1, le=1000, description="Snapshots kept, newest ones."
    )
    checkpoint_every: int = Field(default=500, ge=1, description="Steps between checkpoints.")
    checkpoints_kept: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Checkpoints kept, newest ones, beside the end of stage 1.",
    )
    heartbeat_seconds: float = Field(
        default=2.0, ge=0.05, le=60, description="Seconds between updates of status.json."
    )

    @model_validator(mode="after")
    def _check_length(self) -> TrainingConfig:
        if self.total_steps < 1:
            raise ValueError(
                "training.stage1_steps + training.stage2_steps must be at least 1, got "
                f"{self.total_steps}"
            )
        return self

    @property
    def boundary(self) -> int:
        """Step at which stage 2 begins; 0 when it starts from a checkpoint."""
        return 0 if self.stage2_from else self.stage1_steps

    @property
    def draws_before(self) -> int:
        """Steps whose images and crops stage 1 has seen, here or in the run stage 2 starts from."""
        return self.stage1_steps if self.stage2_from else 0

    @property
    def total_steps(self) -> int:
        """Length of the run."""
        return self.boundary + self.stage2_steps


class OptimConfig(Settings):
    """The student's optimizer and its learning rate; both start afresh at stage 2."""

    lr: float = Field(default=1e-4, gt=0, le=1, description="Peak learning rate (paper: 1e-4).")
    weight_decay: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Of weights; none on norms, embeddings, position tables (Mask2Former: 0.05).",
    )
    backbone_lr_factor: float = Field(
        default=0.1,
        ge=0,
        le=10,
        description="The backbone's learning rate as a share of lr (Mask2Former: 0.1).",
    )
    clip_norm: float = Field(
        default=0.01,
        gt=0,
        le=1000,
        description="Largest gradient norm over the whole model (Mask2Former: 0.01).",
    )
    warmup_steps: int = Field(
        default=1500, ge=0, description="Linear warm-up at the start of each stage, in steps."
    )
    warmup_start: float = Field(
        default=1e-6,
        ge=0,
        le=1,
        description="Share of the learning rate at the first warm-up step.",
    )
    poly_power: float = Field(
        default=0.9, ge=0, le=10, description="Power of the poly decay over a stage."
    )
    algorithm: Algorithm = Field(
        default="adamw", description="Which optimizer (Mask2Former, DAFormer: adamw)."
    )
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Of sgd and rmsprop; the first beta of adam and adamw."
    )


class EvaluationConfig(Settings):
    """Evaluation on the labelled target images of `data.val`; it never influences training."""

    every: int = Field(
        default=0,
        ge=0,
        description="Steps between evaluations; 0 evaluates at the end of a stage only.",
    )
    stage1: bool = Field(default=True, description="Evaluate at the end of stage 1 too.")
    protocols: tuple[ProtocolName, ...] = Field(
        default=("cityscapes", "coco"),
        min_length=1,
        description="How to judge: instances by cityscapes and coco (which AP) and, if asked for, "
        "thing_pixels (mIoU of things, as semantic maps have it), semantic maps by pixels (mIoU).",
    )
    networks: Literal["both", "student", "teacher"] = Field(
        default="both", description="Which networks; where there is no teacher, the student alone."
    )
    short_side: int | None = Field(
        default=None,
        ge=32,
        le=4096,
        description="Resize images to this shorter side first; empty: as they are. Masks are "
        "always judged at the image's own size.",
    )
    limit: int | None = Field(
        default=None, ge=1, description="Only the first so many images: a quick look, not a result."
    )


class Config(Settings):
    """One run, from data to evaluation."""

    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="Of weights, order, augmentation and every random draw.",
    )
    run: RunConfig = Field(default_factory=RunConfig, description="Where the run is kept.")
    data: DataConfig = Field(description="Source and target images, and how they are augmented.")
    model: ModelConfig = Field(default_factory=ModelConfig, description="The network.")
    method: AnyMethodConfig = Field(default_factory=default_config, description="The method.")
    training: TrainingConfig = Field(
        default_factory=TrainingConfig, description="Length, speed and files."
    )
    optim: OptimConfig = Field(default_factory=OptimConfig, description="The optimizer.")
    evaluation: EvaluationConfig = Field(
        default_factory=EvaluationConfig, description="Evaluation."
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_protocols(cls, values: Any) -> Any:
        """Judge by the protocols of what the network predicts unless some are named."""
        if not isinstance(values, dict):
            return values
        model, evaluation = values.get("model") or {}, values.get("evaluation") or {}
        if not isinstance(model, dict) or not isinstance(evaluation, dict):
            return values
        task = next((t for t in TASKS.values() if model.get("preset") in t.presets), None)
        if task is None:
            return values
        return {**values, "evaluation": {"protocols": list(task.protocols), **evaluation}}

    @model_validator(mode="after")
    def _check_protocols(self) -> Config:
        known = (*self.task.protocols, *self.task.further_protocols)
        foreign = [p for p in self.evaluation.protocols if p not in known]
        if foreign:
            raise ValueError(
                f"evaluation.protocols must be of {', '.join(known)}, by which "
                f"{self.task.name} are judged, got {', '.join(foreign)}. Leave it out for all"
            )
        return self

    @model_validator(mode="after")
    def _check_own_classes(self) -> Config:
        if not self.method.own_classes:
            return self
        if not self.task.has_groups:
            raise ValueError(
                "method.own_classes must be empty where semantic maps are learned, which have "
                f"Cityscapes' 19 classes, got {', '.join(self.method.own_classes)}. Leave it out, "
                "or choose a network for instances"
            )
        if foreign := [p for p in self.evaluation.protocols if p in self.task.further_protocols]:
            raise ValueError(
                f"evaluation.protocols must be of {', '.join(self.task.protocols)} with "
                f"method.own_classes, got {', '.join(foreign)}, which knows the eight alone"
            )
        return self

    @model_validator(mode="after")
    def _check_alignment(self) -> Config:
        if self.data.align_offline and self.method.aligns_colours:
            raise ValueError(
                "data.align_offline must not be combined with method.lab_alignment, which aligns "
                "the same images again, got both. Set method.lab_alignment=false"
            )
        return self

    @model_validator(mode="after")
    def _check_method(self) -> Config:
        self.method.check_batch(self.training.batch_size)
        known = METHODS[self.method.name].tasks
        if self.task.name not in known:
            fitting = [p for name in known for p in TASKS[name].presets]
            raise ValueError(
                f"method.name must be a method of {self.task.name}, which model.preset="
                f"{self.model.preset} predicts, got {self.method.name}. Choose another method, or "
                f"a network of its own ({', '.join(fitting)})"
            )
        return self

    @property
    def task(self) -> Task:
        """What the run predicts."""
        return task_of(self.model.preset, self.method.thing_classes)

    @property
    def category_groups(self) -> tuple[tuple[str, ...], ...]:
        """The classes of every network of the run."""
        return self.method.category_groups if self.task.has_groups else (self.task.class_names,)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that the run's network, or all of them together, answer for."""
        only = self.method.classes if self.task.has_groups else ()
        return only or self.task.class_names


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML, in the order of the schema."""
    values = config.model_dump(mode="json")
    return yaml.dump(values, Dumper=YamlWriter, sort_keys=False, allow_unicode=True)
