"""The card of an exported network: what it is, what it was trained on, how good it is, said once.

Everything in it is read from the run. Paths of the machine are left out: cards are published.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from uda4inst.data.config import DatasetRef
from uda4inst.errors import UserError
from uda4inst.methods import METHODS
from uda4inst.models.mask2former.network import Mask2Former, count_parameters
from uda4inst.models.network import Network
from uda4inst.models.pixels import STRIDE
from uda4inst.models.semantic.start import TOYSTREETS
from uda4inst.run_folder.checkpoints import Checkpoint
from uda4inst.run_folder.evaluations import Evaluation, read_evaluation
from uda4inst.run_folder.layout import RunDir, read_command
from uda4inst.tasks.base import measures_of
from uda4inst.toystreets.write import MANIFEST
from uda4inst.training.config import Config, config_hash
from uda4inst.training.hashing import UNHASHED
from uda4inst.training.validation import open_validation

# Of settings that change results, those that say where data lie; cards have no paths.
_PLACES: Final = (
    "root",
    "moved_from",
    "weights",
    "stage2_from",
    "only",
    "only_hash",
    "annotations",
)
# A model of the hub is NAME or OWNER/NAME.
_HUB_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a network comes from.

    Args:
        run: of one network.
        config: of the run.
        checkpoint: the network was read from.
        network: its name there.
        license_name: as the hub calls licences.
    """

    run: RunDir
    config: Config
    checkpoint: Checkpoint
    network: str
    license_name: str


def model_card(network: Network, source: Provenance) -> str:
    """Return the text of README.md.

    Args:
        network: the exported one.
        source: where it comes from.
    """
    config = source.config
    title = f"{source.run.name}: {source.network} of step {source.checkpoint.step}"
    parts = [
        _front_matter(network, source),
        f"# {title}",
        _summary(network, source),
        "## Use",
        _use(network, config),
        "## Where it comes from",
        _table(("", ""), _origin(source)),
        "## Scores",
        _scores(source),
        "## Method, and where it departs from its paper",
        _method(config),
        "## Settings",
        _settings(config),
        "## Terms",
        f"`{source.license_name}`, as whoever exported the network has chosen. Data sets and the "
        "weights it started from have terms of their own, which may say more: look before you "
        "publish it.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(network: Network, source: Provenance) -> str:
    """Return the lines that the hub reads."""
    tags = ["uda4inst", source.config.method.name.replace("_", "-"), "domain-adaptation"]
    kind = "mask2former" if isinstance(network, Mask2Former) else "segformer"
    lines = [
        "---",
        f"license: {source.license_name}",
        "library_name: transformers",
        "pipeline_tag: image-segmentation",
        "tags:",
        *(f"- {tag}" for tag in dict.fromkeys((kind, *tags))),
        "---",
    ]
    return "\n".join(lines)


def _summary(network: Network, source: Provenance) -> str:
    config = source.config
    every, own = config.task.class_names, config.class_names
    count = f"{count_parameters(network) / 1e6:.1f} million parameters"
    text = (
        f"Preset `{config.model.preset}` ({count}) for {config.task.name} in street scenes, "
        f"trained by the method `{config.method.name}`. Classes: {', '.join(own)}."
    )
    if len(own) < len(every):
        text += (
            f" Its head has all {len(every)} classes, but it was trained on these alone, one "
            "category group of a run of several: leave what it says of the others out."
        )
    return text


def _use(network: Network, config: Config) -> str:
    """Return how to load it, and what to look out for."""
    is_instances = isinstance(network, Mask2Former)
    kind = (
        "Mask2FormerForUniversalSegmentation"
        if is_instances
        else "SegformerForSemanticSegmentation"
    )
    subtask = 'subtask="instance", threshold=0.5' if is_instances else ""
    code = [
        "```python",
        f"from transformers import AutoImageProcessor, {kind}, pipeline",
        "",
        f'network = {kind}.from_pretrained("FOLDER")',
        'processor = AutoImageProcessor.from_pretrained("FOLDER")',
        'segment = pipeline("image-segmentation", model=network, image_processor=processor)',
        f'segment("street.png"{", " + subtask if subtask else ""})',
        "```",
    ]
    short_side = config.evaluation.short_side
    sizes = (
        "as they are" if short_side is None else f"resized to a shorter side of {short_side} pixels"
    )
    notes = [
        f"Pictures are taken {sizes}. The scores below are of pictures padded at the right and the "
        f"bottom to sides that are multiples of {STRIDE}; `transformers` pads nothing, so where "
        "sides are no such multiples its outputs differ a little.",
    ]
    if is_instances:
        notes.append(
            "The library's post-processing resizes masks through 384x384, which costs thin "
            "objects, and keeps one query a segment; the scores are of masks at the picture's own "
            "size (`uda4inst predict FOLDER street.png`)."
        )
    return "\n".join([*code, "", *(f"- {note}" for note in notes)])


def _origin(source: Provenance) -> Iterator[tuple[str, str]]:
    """Yield what a reader needs to find the training again."""
    config, checkpoint = source.config, source.checkpoint
    training, data = config.training, config.data
    command = read_command(source.run)
    stage2 = training.total_steps - training.boundary
    yield "run", f"`{source.run.name}`, begun {command.time or 'at an unknown time'}"
    yield "configuration", f"`{config_hash(config)}`, seed {config.seed}"
    yield "code", ", ".join(command.commits) or "commit not known"
    versions = checkpoint.manifest.get("versions")
    if isinstance(versions, Mapping):
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    yield (
        "steps",
        f"{checkpoint.step:,} of {training.total_steps:,}: {training.boundary:,} of stage 1 and "
        f"{stage2:,} of stage 2, batch {training.batch_size} of each domain a process",
    )
    yield "source", _described(data.source)
    seen = "its labels are what it learned from" if _learns_target(config) else "without labels"
    yield "target", f"{_described(data.target)}; {seen}"
    yield "start", _start(config)


def _learns_target(config: Config) -> bool:
    return config.method.sees == "labelled"


def _described(ref: DatasetRef) -> str:
    """Return what images they are; ToyStreets is written in the formats of others."""
    is_toy = (Path(ref.root).parent / MANIFEST).is_file()
    name = f"ToyStreets in the format {ref.format}" if is_toy else ref.format
    some = "" if ref.only is None else f", images of a list ({ref.only_hash})"
    return f"{name}, split {ref.split}{some}"


def _start(config: Config) -> str:
    """Return where its first weights came from; no path."""
    weights = config.model.weights
    if config.training.stage2_from:
        return "another run's checkpoint (`training.stage2_from`)"
    if weights is None:
        return "from scratch"
    if weights == TOYSTREETS:
        return "the package's ToyStreets start"
    is_file = weights.startswith(".") or weights.endswith(".safetensors")
    is_hubs = not is_file and _HUB_NAME.fullmatch(weights) and not Path(weights).exists()
    return f"`{weights}`" if is_hubs else "a file or folder"


def _scores(source: Provenance) -> str:
    """Return the scores of this network at this step, a table a protocol."""
    step = source.checkpoint.step
    path = source.run.evaluation_of(step)
    if not path.exists():
        return f"Not evaluated at step {step}. (`uda4inst evaluate RUN --step {step}` does.)"
    found = read_evaluation(path)
    protocols = found.results.get(source.network, {})
    if not protocols:
        return f"The {source.network} was not evaluated at step {step}."
    parts = [_judged(found, source)]
    for protocol, result in protocols.items():
        parts.append(f"### {protocol}")
        parts.append(_score_table(source, protocol, result))
    return "\n\n".join(parts)


def _judged(found: Evaluation, source: Provenance) -> str:
    """Return what the scores were taken on, with how many images there are."""
    there = _images_there(source.config)
    of = " (of how many could not be counted)" if there is None else f" of {there}"
    text = f"In per cent, on {found.images}{of} images: {_described(source.config.data.val)}."
    if there is not None and found.images is not None and found.images < there:
        text += " Not all of them: a quick look, not a result."
    return text


def _images_there(config: Config) -> int | None:
    """Return how many images could be judged; None where they are not at hand."""
    try:
        dataset = open_validation(config)
    except UserError:
        return None
    return None if dataset is None else len(dataset)


def _score_table(source: Provenance, protocol: str, result: Mapping[str, Any]) -> str:
    measures, of_class = measures_of(source.config.task, protocol)
    rows = [("all", *(_percent(result.get(name)) for name in measures))]
    per_class = result.get("per_class")
    for name, values in (per_class if isinstance(per_class, Mapping) else {}).items():
        if name in source.config.class_names:
            numbers = (None if values is None else values.get(m) for m in of_class)
            rows.append((name, *map(_percent, numbers)))
    for name in source.config.task.class_sets:
        if name in result:
            rows.append((name, _percent(result[name]), ""))
    return _table(("class", *measures), rows)


def _percent(value: object) -> str:
    return f"{100 * value:.1f}" if isinstance(value, int | float) else "-"


def _method(config: Config) -> str:
    """Return what the method's own file says of itself."""
    module = sys.modules[METHODS[config.method.name].config.__module__]
    return f"```text\n{inspect.getdoc(module)}\n```"


def _settings(config: Config) -> str:
    """Return the settings that differ from the package's defaults."""
    rows = list(_differing(config))
    if not rows:
        return "All as the package has them by default."
    intro = (
        "Those that differ from the package's defaults, which are the paper's where it names them; "
        "all others are in the run's `config.yaml`."
    )
    return f"{intro}\n\n{_table(('setting', 'here', 'default'), rows)}"


def _differing(config: Config) -> Iterator[tuple[str, str, str]]:
    for part in ("data", "model", "method", "training", "optim", "evaluation"):
        yield from _differing_in(getattr(config, part), f"{part}.")


def _differing_in(settings: BaseModel, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield (name, value, default) of the settings that are not at their defaults."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name in _PLACES or f"{prefix}{name}" in UNHASHED:
            continue
        if isinstance(value, BaseModel):
            yield from _differing_in(value, f"{prefix}{name}.")
        elif not field.is_required():
            default = field.get_default(call_default_factory=True)
            if name == "ego_vehicle" and value not in ("none", "auto"):
                value = "a file"
            if value != default:
                yield f"`{prefix}{name}`", f"`{value}`", f"`{default}`"


def _table(head: Sequence[str], rows: Any) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
