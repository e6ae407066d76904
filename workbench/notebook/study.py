"""One ablation in a notebook: the same suite as `uda4inst suite`, its tables, and what they say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from uda4inst.data.stream.dataset import Trees, open_trees
from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.status import is_finished
from uda4inst.suites.catalogue import SUITES
from uda4inst.suites.engines import open_engine
from uda4inst.suites.expand import RunSpec
from uda4inst.suites.figures import draw_chart
from uda4inst.suites.plan import Plan, plan_suite
from uda4inst.suites.report import markdown_table
from uda4inst.suites.results import SuiteResults, collect
from uda4inst.suites.rows import Network, ProtocolName
from uda4inst.suites.runner import SuiteProgress
from uda4inst.suites.tables import Table, difference_tables, how_judged, tables
from uda4inst.training.config import Config
from workbench.notebook.shown import Line, Still, Text, figure_still
from workbench.notebook.words import compared, unable

# Smoke runs are too short to leave snapshots by themselves, and judge one image.
_SMOKE: Final = ("training.snapshot_every=2", "training.snapshots_kept=4", "evaluation.limit=8")


class Study:
    """A suite at a scale: run it, and show what it says.

    Args:
        suite: a name of `uda4inst suite`.
        scale: smoke, toy or paper.
        seeds: of the trainings; the smoke scale, which only tells whether it runs, takes the first.
        scenes: scene sets of the toy scale; empty for its own.
        rows: keys of some rows; empty for all.
        source_root: folder of the source's data; None for the scale's own.
        target_root: folder of the target's data.
        settings: key=value for every run, as on the command line.
        root: folder that holds the suites; finished runs in it are taken as they are.

    Raises:
        UserError: no such suite, scale or row; or runs of another configuration are there.
    """

    def __init__(
        self,
        suite: str,
        scale: str,
        *,
        seeds: Sequence[int] = (0,),
        scenes: Sequence[int] = (),
        rows: Sequence[str] = (),
        source_root: str | None = None,
        target_root: str | None = None,
        settings: Sequence[str] = (),
        root: str | Path = "suites",
    ) -> None:
        overrides: list[str] = [*_SMOKE] if scale == "smoke" else []
        if source_root is not None:
            overrides.append(f"data.source.root={source_root}")
        if target_root is not None:
            overrides += [f"data.{part}.root={target_root}" for part in ("target", "val")]
        overrides += settings
        self.plan: Plan = plan_suite(
            suite,
            scale,
            seeds=seeds[:1] if scale == "smoke" else seeds,
            scenes=scenes if scale == "toy" else (),
            rows=rows,
            root=Path(root),
            overrides=overrides,
        )
        self.suite = SUITES[suite]
        self.scale = self.plan.chosen.scale
        # As `uda4inst report` shows first.
        self.protocol: ProtocolName = self.suite.task.protocols[0]  # pyright: ignore[reportAttributeAccessIssue]
        self.network: Network = "student"

    def _repr_markdown_(self) -> str:
        labels = {row.run_key: row.label for row in self.suite.rows}
        by_row: dict[str, list[RunSpec]] = {}
        for run in self.plan.chosen.runs:
            by_row.setdefault(labels.get(run.row, "stage 1, shared"), []).append(run)
        lines = ["| row | runs | finished | steps each |", "|:--|--:|--:|--:|"]
        for label, runs in by_row.items():
            done = sum(is_finished(self.plan.folder.run(run.name)) for run in runs)
            steps = sorted({run.config.training.total_steps for run in runs})
            lengths = ", ".join(f"{count:,}" for count in steps)
            lines.append(f"| {label} | {len(runs)} | {done} | {lengths} |")
        about = f"**{self.suite.title}**. {self.suite.text} {self.scale.text}"
        return "\n".join([about, "", *lines])

    # Running it ---------------------------------------------------------------------------------

    def run(self, *, at_once: int | None = None) -> None:
        """Train what is not finished; the cell shows how far it is, and ends with a line.

        Interrupting the kernel has the runs saved; the cell then goes on with them next time.

        Args:
            at_once: runs at the same time; None for as many as there are devices.

        Raises:
            UserError: data are missing, a run failed, or it was interrupted.
        """
        begun = time.monotonic()
        showing = Line()
        self.plan.take_over(lambda *_: None)
        self.plan.draw_scenes(
            lambda scenes, done, total: showing(f"scenes {scenes}: {done}/{total}")
        )
        engine = open_engine("local", at_once=at_once, folder=self.plan.folder.path)
        outcome = self.plan.run(engine, watch=lambda progress: showing(_progress(progress)))
        if outcome.signal:
            raise UserError("interrupted; what was trained is kept, and this cell goes on with it.")
        if not outcome.is_good:
            raise UserError("\n".join(f"{name}: {why}" for name, why in outcome.errors.items()))
        runs = sum(is_finished(self.plan.folder.run(run.name)) for run in self.plan.chosen.runs)
        minutes, seconds = divmod(round(time.monotonic() - begun), 60)
        # A first stage is not trained again for runs that were taken over without it.
        trained = sum(end == "finished" for end in outcome.ends.values())
        said = f"{trained} trained in {minutes}:{seconds:02d}"
        showing(
            f"{runs} runs finished; {said if trained else 'none was to be trained'}.", at_once=True
        )

    @cached_property
    def data(self) -> Trees:
        """Source and target as its runs read them.

        Raises:
            UserError: they are not there; `run` draws those of the toy scale.
        """
        return open_trees(self.config.data, mode="pair", labels=self.config.task.labels)

    @property
    def config(self) -> Config:
        """Configuration of its first run: data and evaluation are those of all."""
        return self.plan.chosen.runs[0].config

    def finished(self, row: str) -> RunDir:
        """Return the first finished run of a row.

        Raises:
            UserError: there is none.
        """
        keys = {one.key: one.run_key for one in self.suite.rows}
        if row not in keys:
            raise UserError(f"row must be one of {', '.join(keys)}, got {row!r}.")
        for run in self.plan.chosen.runs:
            folder = self.plan.folder.run(run.name)
            if run.row == keys[row] and is_finished(folder):
                return folder
        raise UserError(f"row {row!r} must have a finished run, got none. Run the study first.")

    # What it says -------------------------------------------------------------------------------

    @property
    def results(self) -> SuiteResults:
        """What its runs have reached by now; others in the same folder are left out."""
        chosen = self.plan.chosen
        return collect(self.plan.folder.path).only(chosen.rows, chosen.cells)

    def table(self) -> Text:
        """Return the table with the paper's numbers and ours: mean, spread, gap, n."""
        return _shown(next(tables(self.results, [(self.protocol, self.network)])))

    def differences(self) -> Text:
        """Return how far the rows are apart, with intervals."""
        return self._differences(0)

    def by_class(self) -> Text:
        """Return how far each row is from the one above it, by class, with intervals."""
        return self._differences(1)

    def _differences(self, index: int) -> Text:
        found = list(difference_tables(self.results, self.protocol, self.network))
        return _shown(found[index]) if found else Text("No two rows share two judged images.")

    def figure(self) -> Still:
        """Return bars by class: the paper's light and hatched, ours with their spread."""
        results = self.results
        first = self.suite.rows[0].benchmark
        rows = [r for r in results.rows if r.row.benchmark == first and r.state != "not run"]
        chart = draw_chart(results, rows, self.protocol, self.network)
        measure = self.suite.task.class_measures[0]
        how = how_judged(results, self.protocol, self.network)
        return figure_still(chart, f"{self.suite.title}: {measure} by class of each row, {how}")

    def answer(self, *pairs: tuple[str, str], classes: tuple[str, ...] | None = None) -> Text:
        """Return what the numbers say about pairs of rows, and what this scale cannot tell.

        Args:
            pairs: keys (row, other row); the question is how much higher the first is.
            classes: over whose mean; None for all of a row's.
        """
        results = self.results
        view = (self.protocol, self.network)
        lines = [f"- {compared(results, *pair, view, classes)}" for pair in pairs]
        return Text("\n".join([*lines, "", f"*What this scale cannot tell.* {unable(results)}"]))

    # Where it comes from ------------------------------------------------------------------------

    def hashes(self) -> list[tuple[str, str]]:
        """Return (run, configuration hash) of every run."""
        return [(run.name, run.config_hash) for run in self.plan.chosen.runs]

    def command(self) -> str:
        """Return the command that makes the same on a command line."""
        return f"The same from a terminal: `{' '.join(self.plan.chosen.command)}`"


def _shown(table: Table) -> Text:
    notes = "\n\n".join(f"<small>{note}</small>" for note in table.notes)
    return Text(f"**{table.title}**\n\n{markdown_table(table)}\n\n{notes}")


def _progress(progress: SuiteProgress) -> str:
    """Say how many runs are done and where the running ones are."""
    running = "; ".join(
        f"{run.name} {run.step}/{run.steps or '?'} {run.message}".rstrip()
        for run in progress.running
    )
    return f"{progress.done} of {progress.runs} runs done. {running}"
