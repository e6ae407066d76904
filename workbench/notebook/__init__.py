"""What notebooks are made of: studies, pictures one steps through, and where numbers come from.

A notebook says what is asked and shows it; everything that computes, draws or words is here, so
that it is tested. Widgets are ipywidgets, in `stepper.py` alone; pictures are those of the app.
"""

from workbench.notebook.colours import colour_alignment
from workbench.notebook.errors import error_maps
from workbench.notebook.fiftyone import inspect, inspect_data
from workbench.notebook.groups import category_groups
from workbench.notebook.labels import labels
from workbench.notebook.losses import losses
from workbench.notebook.project import provenance, start
from workbench.notebook.snapshots import confidence, mixing, pool, thresholds
from workbench.notebook.stepper import Stepper
from workbench.notebook.study import Study
from workbench.notebook.terminal import command

__all__ = [
    "Stepper",
    "Study",
    "category_groups",
    "colour_alignment",
    "command",
    "confidence",
    "error_maps",
    "inspect",
    "inspect_data",
    "labels",
    "losses",
    "mixing",
    "pool",
    "provenance",
    "start",
    "thresholds",
]
