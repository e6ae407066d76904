"""The layering of docs/architecture.md: who may import whom, and which third party is whose."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The layers of docs/architecture.md, lowest first: a part may import itself and what lies below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("classes", "errors"),
    ("colors", "settings"),
    ("structures", "atomic", "reading", "yaml_dialect"),
    ("detections", "pictures"),
    ("ops",),
    ("draw_text", "formats"),
    ("draw", "data", "toystreets", "models"),
    ("evaluation", "uda"),
    ("tasks",),
    ("methods",),
    ("run_folder",),
    ("training",),
    ("suites", "doctor", "proposals"),
    ("exchange",),
    ("commands", "cli"),
)
# Beside each other in one layer, and yet no strangers.
NEIGHBOURS = {("cli", "commands"), ("classes", "errors")}


def allowed_from(part: str) -> set[str]:
    """Return the parts that a part may import."""
    level = next(i for i, layer in enumerate(LAYERS) if part in layer)
    below = {name for layer in LAYERS[:level] for name in layer}
    return below | {part} | {other for one, other in NEIGHBOURS if one == part}


# Third party -> where it may be imported.
OWNERS: dict[str, tuple[str, ...]] = {
    "transformers": ("uda4inst/models", "uda4inst/doctor.py"),
    "accelerate": ("uda4inst/training", "uda4inst/doctor.py"),
    "gradio": ("workbench",),
    "starlette": ("workbench/gate",),
    "fastapi": ("workbench/gate", "workbench/app.py"),
    "uvicorn": ("workbench/gate/serving.py",),
    "fiftyone": ("workbench/sessions",),
    "ipywidgets": ("workbench/notebook/stepper.py",),
    "IPython": ("workbench/notebook/shown.py",),
    "nbclient": ("workbench/notebook/record.py",),
    "nbformat": ("workbench/notebook/record.py",),
    "ray": ("uda4inst/suites/engines.py",),
    "submitit": ("uda4inst/suites/engines.py",),
    "onnx": ("uda4inst/exchange/onnx_file.py",),
    "onnxruntime": ("uda4inst/exchange/onnx_file.py",),
    "onnxscript": ("uda4inst/exchange/onnx_file.py",),
    "triton": ("uda4inst/models/mask2former/deformable_triton.py",),
    "detectron2": ("uda4inst/exchange/detectron2.py", "uda4inst/doctor.py"),
    "typer": (
        "uda4inst/cli.py",
        "uda4inst/commands",
        "workbench/sessions/commands",
        "workbench/open_app.py",
    ),
    "msgspec": ("uda4inst/data/readers/coco_file.py", "uda4inst/run_folder/metrics.py"),
    "pycocotools": (
        "uda4inst/evaluation/coco_ap.py",
        "uda4inst/formats/rle.py",
    ),
}


def modules() -> list[Path]:
    return sorted((ROOT / "uda4inst").rglob("*.py")) + sorted((ROOT / "workbench").rglob("*.py"))


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports__follow_the_layers(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    names = imported_names(path)
    offenders = []
    if relative.startswith("uda4inst/") and relative != "uda4inst/__init__.py":
        part = relative.split("/")[1].removesuffix(".py")
        allowed = allowed_from(part) | {"", "__version__"}
        offenders += [n for n in names if n.startswith("uda4inst") and part_of(n) not in allowed]
        offenders += [n for n in names if n.startswith("workbench")]
    if relative.startswith("workbench/pages/"):
        room = ".".join(relative.split("/")[:3])
        pages = [n for n in names if n.startswith("workbench.pages.")]
        offenders += [n for n in pages if n != room and not n.startswith(f"{room}.")]
    for third_party, owners in OWNERS.items():
        uses = {n.split(".")[0] for n in names}
        if third_party in uses and not relative.startswith(owners):
            offenders.append(third_party)
    assert offenders == []


def test_package__imports_without_optional_parts() -> None:
    code = (
        "import sys\n"
        "for name in ('gradio', 'fiftyone', 'detectron2', 'torchvision', 'ray', 'submitit',\n"
        "             'triton'):\n"
        "    sys.modules[name] = None\n"
        "import uda4inst, uda4inst.cli, uda4inst.training.loop, uda4inst.evaluation.evaluate\n"
        "import uda4inst.suites.runner\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module", ["uda4inst.training.config", "uda4inst.suites.plan", "uda4inst.suites.report"]
)
def test_networks__are_imported_by_those_who_build_them(module: str) -> None:
    # `transformers` takes longer to import than everything else together.
    code = f"import sys, {module}\nassert not {{'transformers', 'accelerate'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
