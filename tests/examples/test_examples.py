"""Every script of `examples/` runs as it stands on fresh data, and says what is true."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uda4inst.run_folder.checkpoints import open_checkpoint
from uda4inst.toystreets.write import write_toystreets

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
MOST_LINES = 79
# Shorter than a preset: 8 + 12 steps on crops of 64x128.
SHORT = [
    "data.crop=[64, 128]",
    "data.short_sides=[64, 72]",
    "model.num_points=256",
    "training.stage1_steps=8",
    "training.stage2_steps=12",
    "training.checkpoint_every=5",
    "training.checkpoints_kept=5",
    "training.snapshot_every=5",
    "training.tensorboard_every=0",
    "evaluation.limit=2",
    "method.name=self_training",
]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data where the examples look for them."""
    folder = tmp_path_factory.mktemp("examples")
    write_toystreets(
        folder / "data" / "toystreets", size=(128, 256), train=60, val=24, seed=0, workers=0
    )
    return folder


def run(workplace: Path, *arguments: str, **settings: str) -> str:
    """Run Python in the workplace; return its standard output."""
    return process(workplace, *arguments, **settings).stdout


def process(workplace: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the workplace, to a good end."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=workplace,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@functools.cache
def printed(workplace: Path, name: str) -> str:
    """Run an example, once: what it printed and logged."""
    done = process(workplace, str(ROOT / "examples" / f"{name}.py"))
    return done.stdout + done.stderr


def numbers(text: str, pattern: str) -> list[float]:
    """Return the numbers of a pattern's groups, all matches one after the other."""
    found = re.findall(pattern, text)
    return [float(v) for match in found for v in (match if isinstance(match, tuple) else [match])]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example__is_short_and_listed(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert f"[{script.name}]({script.name})" in (ROOT / "examples/README.md").read_text("utf-8")


def test_readme__shows_what_an_example_does() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = (ROOT / "examples/pseudo_labels_and_mixing.py").read_text(encoding="utf-8")
    assert [line for line in snippet.splitlines() if line not in script.splitlines()] == []


@pytest.mark.e2e
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example__runs(workplace: Path, script: Path) -> None:
    assert printed(workplace, script.stem).strip()


@pytest.mark.e2e
def test_score_predictions__of_boxes_finds_every_object(workplace: Path) -> None:
    out = printed(workplace, "score_predictions")
    boxes, images = numbers(out, r"(\d+) boxes on (\d+) images")
    ids = (workplace / "data/toystreets/cityscapes/gtFine/val").rglob("*_instanceIds.png")
    values = [np.unique(np.asarray(Image.open(path))) for path in ids]
    assert images == len(values) == 24
    assert boxes == sum(int((v >= 1000).sum()) for v in values)
    ap, ap50, coco_ap, coco_ap50 = numbers(out, r"all +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)")
    assert 0 < ap < ap50 < 100  # boxes are no masks
    assert 0 < coco_ap < coco_ap50 < 100
    shell = ["evaluate", "--predictions", "predictions.json", "--json"]
    text = run(workplace, "-m", "uda4inst.cli", *shell, "--target", "data/toystreets/cityscapes")
    result = json.loads(text)
    assert round(100 * result["cityscapes"]["AP50"], 1) == ap50
    assert round(100 * result["coco"]["AP"], 1) == coco_ap


@pytest.mark.e2e
def test_mixing__adds_the_objects_of_both(workplace: Path) -> None:
    out = printed(workplace, "pseudo_labels_and_mixing")
    (source,) = numbers(out, r"source: (\d+) objects")
    (kept,) = numbers(out, r"target: (\d+) pseudo-labels")
    assert min(source, kept) > 0
    mixed = numbers(out, r": (\d+) objects, ([\d.]+)% of")
    assert max(source, kept) <= min(mixed[0::2])  # what is pasted is whole
    assert max(mixed[0::2]) <= source + kept
    assert all(0 < share < 100 for share in mixed[1::2])
    for name in ("s2t", "t2s"):
        assert np.asarray(Image.open(workplace / f"{name}.png")).std() > 0


@pytest.mark.e2e
def test_own_dataset__trains(workplace: Path) -> None:
    out = printed(workplace, "train_with_your_dataset")
    losses = numbers(out, r"step \d+: loss ([\d.]+)")
    assert len(losses) == 3
    assert all(0 < loss < 100 for loss in losses)
    assert numbers(out, r"step (\d+):") == [10, 20, 30]
    assert len(numbers(out, r"(?:student|teacher): Cityscapes AP50 ([\d.]+) on 24")) == 2


@pytest.mark.e2e
def test_criterion_and_ap__learn_pictures_by_heart(workplace: Path) -> None:
    out = printed(workplace, "criterion_and_ap_elsewhere")
    terms = numbers(out, r"class, mask, dice ([\d.]+) ([\d.]+) ([\d.]+)")
    assert all(after < before for before, after in zip(terms[:3], terms[-3:], strict=True))
    ap, ap50 = numbers(out, r"AP ([\d.]+), AP50 ([\d.]+)")
    assert 25 < ap50 <= 100  # it was 53 when written
    assert ap < ap50


@pytest.mark.e2e
def test_transformers__gives_our_outputs(workplace: Path) -> None:
    out = printed(workplace, "load_with_transformers")
    class_gap, mask_gap = numbers(out, r"logits: largest difference (\S+)")
    assert class_gap < 1e-4
    assert mask_gap < 1e-3
    loaded, again = numbers(out, r"(\d+) tensors loaded")
    assert loaded == again == 254


@pytest.mark.e2e
def test_own_method__alone_trains_and_evaluates(workplace: Path) -> None:
    out = printed(workplace, "add_a_method")
    assert "self_training, seed 0" in out
    assert "finished at step 60" in out
    ap = numbers(
        out,
        r"step 60, (?:student|teacher), \d+ of \d+ images: cityscapes AP ([\d.]+), AP50 ([\d.]+)",
    )
    assert len(ap) == 4
    assert all(0 < value < 100 for value in ap)


@pytest.fixture(scope="session")
def package(workplace: Path) -> Path:
    """Return a folder with the method as an installed package brings it."""
    site = workplace / "site"
    facts = site / "self_training-1.dist-info"
    facts.mkdir(parents=True)
    shutil.copy(ROOT / "examples/add_a_method.py", site / "of_my_own.py")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: self-training\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[uda4inst.methods]\nself_training = of_my_own:SPEC\n")
    return site


@pytest.mark.e2e
def test_own_method__of_a_package_trains_resumes_and_is_judged(
    workplace: Path, package: Path
) -> None:
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))

    def uda4inst(*arguments: str) -> str:
        return run(workplace, "-m", "uda4inst.cli", *arguments, PYTHONPATH=path)

    uda4inst("train", "toystreets_smoke", "run.name=packaged", *SHORT)
    checkpoints = workplace / "runs/packaged/checkpoints"
    whole = open_checkpoint(checkpoints)
    digests = {name: whole.digest(name) for name in ("student", "teacher")}
    assert (whole.step, whole.networks) == (20, ("student", "teacher"))
    uda4inst("resume", "packaged", "--from", "15", "--replace")
    assert {name: open_checkpoint(checkpoints).digest(name) for name in digests} == digests
    results = json.loads(uda4inst("evaluate", "packaged", "--json"))["results"]
    assert list(results) == ["student", "teacher"]
    lines = (workplace / "runs/packaged/metrics.jsonl").read_text().splitlines()
    terms = {name.split("/")[0] for name in json.loads(lines[-1])["losses"]}
    assert terms == {"source", "target"}
    assert "pseudo_labels" in json.loads(lines[-1])
    assert sorted(path.name for path in (workplace / "runs/packaged/snapshots").iterdir())[-1] == (
        "00000015"
    )
    # a checkpoint of a run, as well as the start of the package
    file = str(whole.folder / "teacher.safetensors")
    out = run(workplace, str(ROOT / "examples/load_with_transformers.py"), file)
    assert max(numbers(out, r"logits: largest difference (\S+)")) < 1e-3


@pytest.mark.e2e
def test_own_method__registered_is_a_command(workplace: Path) -> None:
    script = str(ROOT / "examples/add_a_method.py")
    run(workplace, script, "train", "toystreets_smoke", "run.name=registered", *SHORT)
    ours = (workplace / "runs/registered/status.json").read_text(encoding="utf-8")
    assert json.loads(ours)["state"] == "finished"
    assert json.loads(run(workplace, script, "evaluate", "registered", "--json"))["step"] == 20
    alone = subprocess.run(
        [sys.executable, "-m", "uda4inst.cli", "evaluate", "registered"],
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode == 2
    assert "got 'self_training'" in alone.stderr
    assert "Is the package installed that brings it along?" in alone.stderr
