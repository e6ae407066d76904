"""From a suite, scale, scene sets and seeds to runs; equal first stages are trained once."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from uda4inst.errors import UserError
from uda4inst.methods import foreign_keys, stage1_config
from uda4inst.suites.definition import Cell, Row, Suite
from uda4inst.suites.scales import Scale
from uda4inst.training.config import Config, check_config, config_hash, load_config
from uda4inst.training.hashing import UNHASHED, put_back, remove, remove_later_defaults

# What stage 1, which is source training, cannot see. A setting that is not listed here keeps
# stage-1 runs apart, so a new one is never shared by mistake. The seed is in the run's name.
UNSEEN_BY_STAGE_1: Final = (
    *UNHASHED,
    "seed",
    "data.val",
    "evaluation",
    "method.name",
    "training.stage2_steps",
    "training.stage2_from",
)
# What a suite sets itself, and what says so.
_RESERVED: Final = {
    "seed": "--seeds",
    "run": "--root",
    "training.stage2_from": "the suite's own stage-1 runs",
}


@dataclass(frozen=True, eq=False)
class RunSpec:
    """One run of a suite.

    Args:
        name: of its folder.
        row: run key of its rows; empty for a stage-1 run.
        cell: its scene set and seed.
        config: resolved.
        stage1: name of the run whose student it starts from; empty when it has its own stage 1.
    """

    name: str
    row: str
    cell: Cell
    config: Config
    stage1: str = ""

    @cached_property
    def config_hash(self) -> str:
        """Hash of everything that changes its results."""
        return config_hash(self.config)


@dataclass(frozen=True, slots=True, eq=False)
class Expansion:
    """All runs of a suite.

    Args:
        suite: what is run.
        scale: how large.
        cells: scene sets and seeds, one set of runs each.
        overrides: key=value of the command line.
        runs: by cell; stage-1 runs before those that start from them.
        rows: keys of the rows that are run.
    """

    suite: Suite
    scale: Scale
    cells: tuple[Cell, ...]
    overrides: tuple[str, ...]
    runs: tuple[RunSpec, ...]
    rows: tuple[str, ...]

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that differ when any run does."""
        listed = sorted((run.name, run.config_hash) for run in self.runs)
        return _digest(listed)

    @property
    def command(self) -> tuple[str, ...]:
        """The command line that asks for the same runs; where they are to lie is left out.

        Of every scene set with every seed, where only some pairs of them were asked for.
        """
        words = ["uda4inst", "suite", self.suite.name, "--scale", self.scale.name]
        words += ["--seeds", ",".join(map(str, dict.fromkeys(cell.seed for cell in self.cells)))]
        sets = dict.fromkeys(cell.scenes for cell in self.cells if cell.scenes is not None)
        if sets:
            words += ["--scenes", ",".join(map(str, sets))]
        if len(self.rows) < len({row.key for row in self.suite.rows}):
            words += ["--rows", ",".join(self.rows)]
        return (*words, *(word for value in self.overrides for word in ("--set", value)))


def cells_of(scale: Scale, seeds: Sequence[int], scenes: Sequence[int] = ()) -> tuple[Cell, ...]:
    """Return every scene set with every seed, all sets of one seed before those of the next.

    Args:
        scale: it says which scene sets there are when none is named.
        seeds: of the trainings.
        scenes: seeds of the scene sets; empty for the scale's own.

    Raises:
        UserError: a seed twice or negative; scene sets where the scale has one data set.
    """
    _check_seeds("--seeds", seeds)
    if scale.scenes is None:
        if scenes:
            raise UserError(
                f"--scenes must be left out at scale {scale.name}, which has one data set for "
                f"every source, got {','.join(map(str, scenes))}. Only scale toy draws scenes."
            )
        return tuple(Cell(None, seed) for seed in seeds)
    sets = tuple(scenes) or scale.scenes.default
    _check_seeds("--scenes", sets)
    return tuple(Cell(one, seed) for seed in seeds for one in sets)


def expand(
    suite: Suite,
    scale: Scale,
    cells: Sequence[Cell],
    *,
    root: Path,
    overrides: Sequence[str] = (),
    rows: Sequence[str] = (),
) -> Expansion:
    """Return the runs of a suite.

    Args:
        suite: which table.
        scale: how large; rows of sources without a preset have no runs.
        cells: one set of runs each, of `cells_of`.
        root: folder of the runs.
        overrides: key=value for every run, or PRESET:key=value for the runs of one preset.
        rows: keys of the rows that are run, with the stage 1 they start from; empty for all.

    Raises:
        UserError: the suite has no such row; an override is not one, sets what the rows compare,
            or what the suite sets itself; a resolved configuration is refused.
    """
    chosen = _chosen_rows(suite, rows)
    parsed = [_parse(override, suite, scale) for override in overrides]
    _check_overrides(parsed, suite)
    runs: dict[str, RunSpec] = {}
    with _each_warning_once():
        for cell in cells:
            specs = [
                spec
                for row in _rows_with_runs(suite, scale, chosen)
                for spec in _runs_of_row(row, cell, suite, scale, root=root, overrides=parsed)
            ]
            # Stage 1 first; a name met again is the same run.
            for spec in sorted(specs, key=lambda spec: bool(spec.row)):
                runs.setdefault(spec.name, spec)
    return Expansion(suite, scale, tuple(cells), tuple(overrides), tuple(runs.values()), chosen)


def _chosen_rows(suite: Suite, rows: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of the rows that are run, in the suite's order; all where none is named."""
    known = list(dict.fromkeys(row.key for row in suite.rows))
    unknown = [key for key in rows if key not in known]
    if unknown:
        raise UserError(
            f"--rows must be among {', '.join(known)} ({suite.name}), got "
            f"{', '.join(map(repr, unknown))}."
        )
    return tuple(key for key in known if key in rows or not rows)


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Say once what reading a configuration says of many runs alike."""
    reader = logging.getLogger(load_config.__module__)
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not (text in said or said.add(text))

    reader.addFilter(is_new)
    try:
        yield
    finally:
        reader.removeFilter(is_new)


def stage1_hash(config: Config) -> str | None:
    """Return what equals for runs with the same stage 1; None for runs that cannot share theirs.

    The upper bound trains on the target in both stages; a run without one of the stages, or with a
    start of its own, has nothing to share.
    """
    training = config.training
    if config.method.sees == "labelled" or training.stage2_from:
        return None
    if training.stage1_steps == 0 or training.stage2_steps == 0:
        return None
    values = config.model_dump(mode="json")
    values["method"] = stage1_config(config.method).model_dump(mode="json")
    put_back(values)
    for name in UNSEEN_BY_STAGE_1:
        remove(values, name)
    remove_later_defaults(values, config)
    return _digest(values)


def run_name(run_key: str, cell: Cell) -> str:
    """Return the name of a row's run."""
    return f"{run_key}{cell.suffix}"


@dataclass(frozen=True, slots=True)
class _Override:
    text: str
    preset: str
    key: str
    setting: str


def _runs_of_row(
    row: Row,
    cell: Cell,
    suite: Suite,
    scale: Scale,
    *,
    root: Path,
    overrides: Sequence[_Override],
) -> Iterator[RunSpec]:
    """Yield a row's run of one cell, after its stage 1 if it can be shared."""
    preset = scale.presets[row.benchmark]
    name = run_name(row.run_key, cell)
    settings = {
        **_of_its_method(
            {
                **scale.settings_on(cell.scenes),
                **scale.under.get(suite.name, {}),
                **scale.under.get(f"{suite.name}/{row.key}", {}),
                **row.settings,
                **_fitting(scale.suites.get(suite.name, {}), row),
            }
        ),
        "seed": cell.seed,
        "run.root": str(root),
        "run.name": name,
    }
    config = load_config(
        preset,
        [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        + [o.setting for o in overrides if o.preset in ("", preset)],
    )
    shared = stage1_hash(config)
    if shared is None:
        yield RunSpec(name, row.run_key, cell, config)
        return
    stage1 = f"stage1-{shared}{cell.suffix}"
    yield RunSpec(stage1, "", cell, _stage1_config(config, stage1))
    changed = _changed(config, {"training.stage2_from": stage1})
    yield RunSpec(name, row.run_key, cell, changed, stage1)


def _stage1_config(config: Config, name: str) -> Config:
    """Return source training alone, with defaults for what it cannot see."""
    values = config.model_dump(mode="json")
    values["method"] = stage1_config(config.method).model_dump(mode="json")
    values["run"]["name"] = name
    values["training"]["stage2_steps"] = 0
    if not config.evaluation.stage1:
        # A run ends with an evaluation; where none is wanted, one image is the least.
        values["evaluation"] |= {"limit": 1, "networks": "student"}
    return check_config(values, where=name)


def _changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return a configuration with some values changed."""
    values = config.model_dump(mode="json")
    for name, value in settings.items():
        *parents, last = name.split(".")
        part = values
        for parent in parents:
            part = part[parent]
        part[last] = value
    return check_config(values, where=config.run.name)


def _fitting(settings: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """Return a scale's settings for a suite; the bounds stay networks for all classes."""
    return {k: v for k, v in settings.items() if row.role == "row" or k != "method.groups"}


def _of_its_method(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's settings without those that only other methods have: a scale has them all."""
    method = {key.split(".")[1]: v for key, v in settings.items() if key.startswith("method.")}
    foreign = {("method", key) for key in foreign_keys(method)}
    return {k: v for k, v in settings.items() if tuple(k.split(".")[:2]) not in foreign}


def _rows_with_runs(suite: Suite, scale: Scale, chosen: Sequence[str]) -> list[Row]:
    """Return one row for every run key of chosen rows whose source the scale has."""
    wanted = {row.run_key for row in suite.rows if row.key in chosen}
    of_scale = [r for r in suite.rows if r.benchmark in scale.presets and r.run_key in wanted]
    return list({r.run_key: r for r in reversed(of_scale)}.values())[::-1]


def _check_seeds(option: str, seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UserError(
            f"{option} must be different whole numbers from 0, separated by commas, got "
            f"{','.join(map(str, seeds)) or 'none'}. For example: {option} 0,1,2"
        )


def _parse(text: str, suite: Suite, scale: Scale) -> _Override:
    """Return one key=value or PRESET:key=value of the command line."""
    match = re.fullmatch(r"(?:([A-Za-z0-9_]+):)?([^=:]+)=(.*)", text, flags=re.DOTALL)
    if not match:
        raise UserError(
            f"--set must be written key.sub=value or PRESET:key.sub=value, got {text!r}. "
            "For example: --set training.batch_size=2"
        )
    preset, key, value = match[1] or "", match[2], match[3]
    benchmarks = {row.benchmark for row in suite.rows}
    known = sorted({name for of, name in scale.presets.items() if of in benchmarks})
    if preset and preset not in known:
        raise UserError(
            f"--set must name a preset of {suite.name} at scale {scale.name} before the colon "
            f"({', '.join(known)}), got {text!r}."
        )
    return _Override(text, preset, key, f"{key}={value}")


def _check_overrides(overrides: Sequence[_Override], suite: Suite) -> None:
    """Raise where an override would undo what the table compares."""
    compared = _compared(suite)
    for override in overrides:
        for key, instead in _RESERVED.items():
            if _overlap(override.key, key):
                raise UserError(
                    f"--set must leave {key} to {instead}, got {override.text!r}. Leave it out."
                )
        for key in compared:
            if _overlap(override.key, key):
                raise UserError(
                    f"--set must not change {key}, in which the rows of {suite.name} differ, got "
                    f"{override.text!r}. Leave it out, or train a single run with it."
                )


def _compared(suite: Suite) -> list[str]:
    """Return the settings in which a table's own rows differ."""
    rows = [row for row in suite.rows if row.role != "upper_bound" and not row.is_extra]
    values: dict[str, set[str]] = {}
    for row in rows:
        for key, value in row.settings.items():
            values.setdefault(key, set()).add(repr(value))
    return [key for key, found in values.items() if len(found) > 1]


def _overlap(a: str, b: str) -> bool:
    """Whether setting one dotted name touches the other."""
    return f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}.")


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
