"""Real trainings, killed at random moments, gone on with, and compared with unbroken ones.

    python tests/support/killed_runs.py --kills 100 --seed 0 --out FILE

Each training is the command line in a session of its own, in a folder of its own. A random moment
is a time, a line of metrics, or something that can be seen in the folder (a checkpoint or an
evaluation being written, a suite between two runs). Killed is the whole tree of processes or the
first process alone. After a kill no process may be left after ten seconds and every file must be
whole; a training that finished must have left what an unbroken one leaves, to the byte.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import psutil
from compared_runs import repeated_content

from uda4inst.atomic import TEMPORARY_PREFIX, write_json
from uda4inst.errors import UserError
from uda4inst.run_folder.checkpoints import complete_steps, open_checkpoint
from uda4inst.run_folder.commit import current_commit
from uda4inst.run_folder.evaluations import evaluated_steps, read_evaluation
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.status import load_status
from uda4inst.toystreets.write import write_toystreets

# In the environment of every process of a trial: how they are found again.
MARK: Final = "UDA4INST_SOAK_TRIAL"
GONE_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 300.0
KILLS_A_TRIAL: Final = 6

_SMALL: Final = (
    "data.crop=[64, 128]",
    "data.short_sides=[64, 72]",
    "training.checkpoint_every=3",
    "training.checkpoints_kept=50",
    "training.snapshot_every=3",
    "training.device=cpu",
    "optim.warmup_steps=2",
)
_ADAPTED: Final = (
    *_SMALL,
    "model.num_points=256",
    "method.score_threshold=0.3",
    "training.stage1_steps=5",
    "training.stage2_steps=7",
    "evaluation.stage1=true",
)
_SUITE: Final = ("suite", "table5", "--scale", "smoke", "--seeds", "0", "--rows", "m1,m3")

Way = Literal["tree", "first"]
Moment = Literal["time", "line", "checkpoint", "evaluation", "between"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A training to kill.

    Args:
        name: for the report.
        begin: arguments that begin it.
        go_on: arguments that go on with it.
        moments: kinds of moments at which it is killed.
        outlived: whether trainers may live on when the first process is killed alone, to be waited
            for by the next one (a suite's).
    """

    name: str
    begin: tuple[str, ...]
    go_on: tuple[str, ...] = ("resume", "runs/a")
    moments: tuple[Moment, ...] = ("time", "line", "checkpoint", "evaluation")
    outlived: bool = False


def _training(name: str, preset: str, *settings: str) -> Scenario:
    return Scenario(name, ("train", preset, "run.name=a", *settings))


def _suite() -> Scenario:
    arguments = [*_SUITE, "--at-once", "2", "--set", "training.checkpoint_every=2"]
    begin = (*arguments, "--set", "training.checkpoints_kept=50")
    moments: tuple[Moment, ...] = ("time", "line", "checkpoint", "evaluation", "between")
    return Scenario("suite", begin, begin, moments=moments, outlived=True)


SCENARIOS: Final = (
    _training("two groups in turn", "toystreets_smoke", *_ADAPTED, "method.groups=two"),
    _training(
        "two groups at once",
        "toystreets_smoke",
        *_ADAPTED,
        "method.groups=two",
        "training.modules_at_once=2",
    ),
    _training("one network, a loader", "toystreets_smoke", *_ADAPTED, "data.workers=1"),
    _training(
        "semantic",
        "toystreets_semantic_smoke",
        *_SMALL,
        "training.stage2_steps=12",
        "data.workers=1",
    ),
    _suite(),
)


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and what was found after it.

    Args:
        seconds: since the process was started.
        seen: what the folder showed of the moment.
        gone_after: seconds until no process was left.
        faults: what should not be; empty where all is well.
    """

    way: Way
    moment: Moment
    seconds: float
    seen: str
    gone_after: float
    faults: tuple[str, ...]


@dataclass(slots=True)
class Trial:
    """A training with all its kills.

    Args:
        seed: from which its moments are drawn.
        faults: in what it left when it had finished.
    """

    scenario: str
    seed: int
    kills: list[Kill] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Unbroken:
    """A training that nobody killed: what the others must leave, and how long it took."""

    content: Mapping[str, object]
    seconds: float
    lines: int


class Place:
    """A folder in which one training is started again and again."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "data").symlink_to(data)
        self._mark = str(folder)
        self._known: frozenset[Path] = frozenset()

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        self._known = frozenset(self.unfinished())
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "uda4inst.cli", *arguments],
                cwd=self.folder,
                env={**os.environ, MARK: self._mark, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """Return what runs here, whoever its parent is now."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == self._mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def kill(self, first: subprocess.Popen[bytes], way: Way) -> None:
        """Send SIGKILL to the first process, or to all of them until there is none."""
        first.kill()
        first.wait()
        while way == "tree" and (others := self.processes()):
            for other in others:
                other.kill()

    def wait_until_gone(self, seconds: float) -> tuple[float, list[psutil.Process]]:
        """Return how long it took, and what is left."""
        started = time.monotonic()
        while (left := self.processes()) and time.monotonic() - started < seconds:
            time.sleep(0.1)
        return time.monotonic() - started, left

    def runs(self) -> list[RunDir]:
        """Return every run folder, with those of modules and of a suite."""
        return [RunDir(path.parent) for path in sorted(self.folder.rglob("config.yaml"))]

    def unfinished(self) -> list[Path]:
        """Return temporary files and folders, outermost first."""
        found = sorted(self.folder.rglob(f"{TEMPORARY_PREFIX}*"))
        return [path for path in found if path.parent not in found]

    def in_writing(self) -> list[str]:
        """Return what is being written since the last start: names of folders on the way to it."""
        new = [path for path in self.unfinished() if path not in self._known]
        return [part for path in new for part in path.relative_to(self.folder).parts]

    def lines(self) -> int:
        """Return how many lines of metrics there are."""
        return sum(_count_lines(path) for path in self.folder.rglob("metrics.jsonl"))

    def records(self) -> int:
        """Return how many runs of a suite have ended."""
        return sum(_count_lines(path) for path in self.folder.rglob("records.jsonl"))

    def content(self) -> dict[str, object]:
        """Return what is left of all runs, as `repeated_content`, wherever this folder lies."""
        found: dict[str, object] = {}
        for name, value in repeated_content(self.folder).items():
            if Path(name).parts[0] in ("runs", "suites") and not _of_a_suite(name):
                here = str(self.folder.resolve())
                found[name] = value.replace(here, ".") if isinstance(value, str) else value
        return found


def _of_a_suite(name: str) -> bool:
    """Tell whether a file says when a suite did what."""
    parts = Path(name).parts
    return parts[0] == "suites" and (
        parts[2] in ("logs", "records.jsonl", "suite.yaml") or parts[-1] == "lock"
    )


def _count_lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def whole_files(run: RunDir) -> Iterator[str]:
    """Yield what is wrong with the files of a run that was just killed."""
    readers: list[tuple[Path, Callable[[], object]]] = [
        (run.checkpoints / str(step), lambda s=step: open_checkpoint(run.checkpoints, step=s))
        for step in complete_steps(run.checkpoints)
    ]
    readers += [
        (path, lambda p=path: read_evaluation(p))
        for path in map(run.evaluation_of, evaluated_steps(run))
    ]
    readers += [(run.status, lambda: load_status(run.status))] if run.status.exists() else []
    for path, read in readers:
        try:
            read()
        except (UserError, OSError) as error:
            yield f"{path}: {error}"
    if run.metrics.exists():
        *lines, _ = run.metrics.read_bytes().split(b"\n")
        for line in lines:
            try:
                json.loads(line)
            except ValueError:
                yield f"{run.metrics}: {line[:80]!r}"


def seen_in(place: Place) -> str:
    """Return what a killed training was doing, as its folder shows it."""
    written = place.in_writing()
    if "checkpoints" in written:
        return "writing a checkpoint"
    if "evaluation" in written:
        return "evaluating"
    if "snapshots" in written:
        return "writing a snapshot"
    if not place.runs():
        return "before there was a run"
    stages: list[int] = []
    for run in place.runs():
        if run.metrics.exists():
            lines = run.metrics.read_bytes().split(b"\n")[:-1]
            stages += [json.loads(lines[-1])["stage"]] if lines else []
    return f"stage {stages[-1]}" if stages else "before the first step"


def wait_for(place: Place, first: subprocess.Popen[bytes], moment: Moment, wanted: float) -> None:
    """Wait until a moment has come, or the training has ended."""
    started, records = time.monotonic(), place.records()
    looked_for = {"checkpoint": "checkpoints", "evaluation": "evaluation"}.get(moment, "")
    while first.poll() is None and time.monotonic() - started < LONGEST_SECONDS:
        if moment == "time" and time.monotonic() - started >= wanted:
            return
        if moment == "line" and place.lines() >= wanted:
            return
        if moment == "between" and place.records() > records:
            return
        if looked_for in place.in_writing():
            return
        time.sleep(0.003)


def kill_once(
    place: Place, scenario: Scenario, unbroken: Unbroken, chance: random.Random, *, begun: bool
) -> Kill | None:
    """Start or go on, and kill at a random moment; None where it finished before that."""
    moment, way = chance.choice(scenario.moments), chance.choice(("tree", "first"))
    wanted = {
        "time": chance.uniform(0, unbroken.seconds),
        "line": chance.randint(place.lines() + 1, max(unbroken.lines, place.lines() + 1)),
    }.get(moment, 0)
    delay = chance.choice((0, chance.uniform(0, 0.3)))
    started = time.monotonic()
    first = place.start(scenario.go_on if begun else scenario.begin)
    wait_for(place, first, moment, wanted)
    time.sleep(delay)
    if first.poll() is not None:
        return None
    place.kill(first, way)
    seconds, seen = time.monotonic() - started, seen_in(place)
    may_outlive = scenario.outlived and way == "first"
    # In half of the cases the next one finds them at work.
    patience = LONGEST_SECONDS if may_outlive and chance.random() < 0.5 else GONE_SECONDS
    gone_after, left = place.wait_until_gone(patience)
    faults = [fault for run in place.runs() for fault in whole_files(run)]
    if left and not may_outlive:
        faults += [f"still there after {GONE_SECONDS:.0f} s: {p.pid} {p.cmdline()}" for p in left]
    return Kill(way, moment, round(seconds, 2), seen, round(gone_after, 2), tuple(faults))


def finish(place: Place, scenario: Scenario, *, begun: bool) -> list[str]:
    """Go on to the end; return what went wrong."""
    first = place.start(scenario.go_on if begun else scenario.begin)
    try:
        code = first.wait(LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        place.kill(first, "tree")
        return ["did not end"]
    _, left = place.wait_until_gone(GONE_SECONDS)
    faults = [f"ended with exit code {code}"] if code else []
    faults += [f"{p.pid} outlived the end: {p.cmdline()}" for p in left]
    return faults + [f"left unfinished: {path}" for path in place.unfinished()]


def differences(content: Mapping[str, object], unbroken: Mapping[str, object]) -> list[str]:
    """Return how a training's files differ from an unbroken one's.

    A trainer that loses its parent saves and ends: checkpoints of other steps may be there too.
    """
    faults = [f"missing: {name}" for name in unbroken if name not in content]
    faults += [f"differs: {name}" for name in unbroken if content.get(name, "") != unbroken[name]]
    more = (name for name in content if name not in unbroken)
    return faults + [f"too much: {name}" for name in more if "checkpoints" not in Path(name).parts]


def run_unbroken(place: Place, scenario: Scenario) -> Unbroken:
    """Train to the end without a kill.

    Raises:
        RuntimeError: it does not end well.
    """
    started = time.monotonic()
    if faults := finish(place, scenario, begun=False):
        raise RuntimeError(f"{scenario.name}: {faults} {(place.folder / 'said.txt').read_text()}")
    return Unbroken(place.content(), time.monotonic() - started, place.lines())


def run_trial(
    place: Place, scenario: Scenario, unbroken: Unbroken, *, seed: int, kills: int
) -> Trial:
    """Train with kills on the way."""
    trial, chance, started = Trial(scenario.name, seed), random.Random(seed), time.monotonic()
    while len(trial.kills) < kills:
        begun = scenario.outlived or any(run.path.name == "a" for run in place.runs())
        kill = kill_once(place, scenario, unbroken, chance, begun=begun)
        if kill is None:
            break
        trial.kills.append(kill)
    begun = scenario.outlived or any(run.path.name == "a" for run in place.runs())
    trial.faults += finish(place, scenario, begun=begun)
    trial.faults += differences(place.content(), unbroken.content)
    trial.seconds = round(time.monotonic() - started, 1)
    return trial


def soak(
    root: Path,
    *,
    kills: int,
    seed: int,
    at_once: int = 1,
    seconds: float = math.inf,
    scenarios: Sequence[Scenario] = SCENARIOS,
    tell: Callable[[list[Trial]], None] = lambda trials: None,
) -> list[Trial]:
    """Run trials until there were so many kills.

    Args:
        root: folder for all of it; one whose trial went well is removed.
        kills: how many, at the least.
        seed: of everything that is drawn.
        at_once: trials at the same time.
        seconds: no trial begins later than this.
        scenarios: taken in turn.
        tell: called with all trials when one has ended.
    """
    started = time.monotonic()
    data = root / "toystreets"
    write_toystreets(data / "toystreets", size=(64, 128), train=8, val=2, workers=0)
    unbroken = {
        s.name: run_unbroken(Place(root / f"unbroken-{i}", data), s)
        for i, s in enumerate(scenarios)
    }
    trials: list[Trial] = []

    def work(number: int) -> None:
        scenario = scenarios[number % len(scenarios)]
        left = kills - sum(len(trial.kills) for trial in trials)
        if left <= 0 or time.monotonic() - started > seconds:
            return
        place = Place(root / f"trial-{number}", data)
        trial = run_trial(
            place,
            scenario,
            unbroken[scenario.name],
            seed=seed + number,
            kills=min(left, KILLS_A_TRIAL),
        )
        trials.append(trial)
        say(trial, sum(len(one.kills) for one in trials))
        tell(trials)
        if not (trial.faults or any(kill.faults for kill in trial.kills)):
            shutil.rmtree(place.folder)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(work, range(10 * kills)))
    return trials


def say(trial: Trial, kills: int) -> None:
    print(f"{kills} kills; {trial.scenario}, seed {trial.seed}, {trial.seconds} s", flush=True)
    for kill in trial.kills:
        print(f"    {kill}", flush=True)
    for fault in trial.faults:
        print(f"    FAULT {fault}", flush=True)


def summary(trials: Sequence[Trial], *, seed: int, seconds: float) -> dict[str, Any]:
    """Return the report of all trials."""
    kills = [kill for trial in trials for kill in trial.kills]
    return {
        "commit": current_commit(),
        "seed": seed,
        "kills": len(kills),
        "trials": len(trials),
        "seconds": round(seconds),
        "faults": sum(len(t.faults) for t in trials) + sum(len(k.faults) for k in kills),
        "gone_after_at_most": max((k.gone_after for k in kills), default=0.0),
        "by_scenario": Counter(t.scenario for t in trials for _ in t.kills),
        "by_moment": Counter(k.seen for k in kills),
        "by_way": Counter(k.way for k in kills),
        "trials_in_full": [asdict(trial) for trial in trials],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="report, as JSON")
    parser.add_argument("--root", type=Path, help="folder to work in; default: a temporary one")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no trial begins later")
    asked = parser.parse_args()
    root = asked.root or Path(tempfile.mkdtemp(prefix="uda4inst-soak-"))
    started = time.monotonic()
    asked.out.parent.mkdir(parents=True, exist_ok=True)

    def write(trials: list[Trial]) -> dict[str, Any]:
        report = summary(trials, seed=asked.seed, seconds=time.monotonic() - started)
        write_json(asked.out, report)
        return report

    trials = soak(
        root.resolve(),
        kills=asked.kills,
        seed=asked.seed,
        at_once=asked.at_once,
        seconds=asked.seconds,
        tell=write,
    )
    if write(trials)["faults"]:
        sys.exit(1)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
