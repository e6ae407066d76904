"""What `pip install uda4inst` brings works without a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = ("training.stage1_steps=1", "training.stage2_steps=1", "training.batch_size=1")

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from what git has, and unpack it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("docs/", "notebooks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    built = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", str(source), "--no-deps"),
            *("--no-build-isolation", "--no-index", "--wheel-dir", str(folder)),
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("uda4inst-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def call(installed: Path, folder: Path, *words: str) -> str:
    """Run the command line of the unpacked wheel in a folder, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "uda4inst.cli", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel__is_what_is_imported(installed: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [sys.executable, "-c", "import uda4inst, workbench; print(uda4inst.__file__)"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(installed)
    assert not list(installed.glob("tests*"))


def test_wheel__examines_makes_data_trains_and_judges(installed: Path, tmp_path: Path) -> None:
    assert "ToyStreets start" in call(installed, tmp_path, "doctor")
    call(
        *(installed, tmp_path, "data", "toystreets", "data/toystreets"),
        *("--train", "2", "--val", "2", "--workers", "0"),
    )
    call(installed, tmp_path, "train", "toystreets_smoke", "run.name=one", *SMALL)
    judged = call(installed, tmp_path, "evaluate", "one")
    assert "cityscapes" in judged.lower()
    assert "--auth-file" in call(installed, tmp_path, "app", "--help")
