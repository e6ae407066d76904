"""Curves of what a run's student was taught by, from its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uda4inst.errors import UserError
from uda4inst.run_folder.layout import RunDir, module_names
from workbench.notebook.shown import Captioned, Image
from workbench.notebook.stepper import Stepper
from workbench.stores.metrics import SeriesReader

_SMOOTHED: Final = (1, 10, 50)
_DPI: Final = 96
_POINTS: Final = 100_000  # all there are

Floats = NDArray[np.float64]


def losses(runs: Mapping[str, RunDir], *, module: str | None = None) -> Stepper:
    """Step through runs: the loss of every view over the training, before any weight.

    Args:
        runs: by the name the control shows.
        module: category group of runs that have several; None for the first.
    """
    curves = {name: _curves(run, module) for name, run in runs.items()}

    def draw(row: str, mean_over: int) -> Captioned:
        figure = Figure((9, 3.4), dpi=_DPI, layout="constrained")
        axes = figure.subplots()
        ends: list[str] = []
        for view, (steps, values) in curves[row].items():
            width = min(mean_over, len(values))
            smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
            axes.plot(steps[width - 1 :], smooth, label=view)
            ends.append(f"{view} {smooth[-1]:.2f}")
        axes.set_xlabel("step")
        axes.set_ylabel("class + mask + dice")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        text = f"{row}, mean over {mean_over} steps; at the end: {', '.join(ends)}"
        return Captioned(_pixels(figure), text)

    return Stepper(draw, {"row": list(runs), "mean_over": _SMOOTHED}, start={"mean_over": 10})


def _curves(run: RunDir, module: str | None) -> dict[str, tuple[Floats, Floats]]:
    """Return (steps, values) by view: class, mask and dice of every logged step added."""
    if run.is_grouped:
        run = run.module(module or module_names(run)[0])
    series = SeriesReader(run.metrics).series(points=_POINTS)
    found: dict[str, Floats] = {}
    for name in series.names("losses"):
        view = name.split("/")[1]
        found[view] = found.get(view, np.zeros(len(series.step))) + series.mean[name]
    if not found:
        raise UserError(f"run {run.name!r} must have losses, got none ({run.metrics}).")
    known = {view: ~np.isnan(values) for view, values in found.items()}
    return {view: (series.step[known[view]], found[view][known[view]]) for view in found}


def _pixels(figure: Figure) -> Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
