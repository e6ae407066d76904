"""The command line: what people type, what they read, and the exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, in_process
from PIL import Image

from uda4inst import __version__, doctor
from uda4inst.data.readers import UrbanSyn
from uda4inst.data.tree import ImageTree
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.formats.cityscapes_submission import write_submission
from uda4inst.formats.coco import write_results
from uda4inst.formats.image_list import ImageList, write_image_list
from uda4inst.formats.predictions import ImagePredictions, ScoredMask, to_line, writing_text
from uda4inst.run_folder.layout import RunDir, create_run
from uda4inst.training import launch
from uda4inst.training.config import load_config, to_yaml
from uda4inst.training.groups.modules import module_config
from uda4inst.training.journal import RunFailedError
from uda4inst.training.validation import require_validation


@pytest.fixture
def uda4inst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Cli:
    """Run a command in an empty folder; return exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    return in_process(monkeypatch, capsys)


def test_cli__help_needs_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys, uda4inst.cli\n"
        "heavy = {'torch', 'transformers', 'pydantic', 'numpy', 'psutil'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_cli__version_has_the_commit(uda4inst: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uda4inst.run_folder.commit.current_commit", lambda: "abc-dirty")
    assert uda4inst("--version") == (0, f"uda4inst {__version__} (abc-dirty)\n", "")
    monkeypatch.setattr("uda4inst.run_folder.commit.current_commit", lambda: None)
    assert uda4inst("--version") == (0, f"uda4inst {__version__}\n", "")


def test_cli__help_lists_the_commands(uda4inst: Cli) -> None:
    code, out, _ = uda4inst("--help")
    assert code == 0
    for command in (
        "train",
        "resume",
        "evaluate",
        "predict",
        "bench",
        "data",
        "pretrain",
        "doctor",
    ):
        assert command in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("train", "toystreets_dmo"), "Did you mean toystreets_demo?", id="preset"),
        pytest.param(
            ("train", "toystreets_smoke", "method.ema_deca=1"),
            "Did you mean method.ema_decay?",
            id="unknown-key",
        ),
        pytest.param(
            ("train", "toystreets_smoke", "run.name=a/b"),
            "run.name must be letters, digits",
            id="slash-in-the-name",
        ),
        pytest.param(("train", "toystreets_smoke", "optim.lr=fast"), "optim.lr must be", id="type"),
        pytest.param(("train", "toystreets_smoke"), "uda4inst data toystreets", id="missing-data"),
        pytest.param(("resume", "nobody"), "RUN must be a run folder", id="unknown-run"),
        pytest.param(("evaluate",), "must be given a RUN, or --predictions", id="nothing"),
        pytest.param(("evaluate", "a", "--predictions", "b"), "got both", id="run-and-predictions"),
        pytest.param(
            ("evaluate", "--predictions", "b"), "--target must name", id="predictions-alone"
        ),
        pytest.param(("evaluate", "--predictions", "b", "--target", "c"), "c", id="no-such-target"),
        pytest.param(("data", "toystreets", "x", "--size", "128"), "HEIGHTxWIDTH", id="bad-size"),
        pytest.param(("bench", "tiny", "--size", "0x64"), "of one pixel or more", id="no-size"),
        pytest.param(("predict", "r", "no.png"), "IMAGES must exist, got no.png", id="no-image"),
        pytest.param(
            ("predict", "r", "."), "IMAGES must be files, got folders: .", id="image-folder"
        ),
    ],
)
def test_cli__mistake_is_one_message_and_exit_code_2(
    uda4inst: Cli, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = uda4inst(*arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert words in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_cli__unknown_option_is_exit_code_2(uda4inst: Cli) -> None:
    assert uda4inst("train", "--zzz")[0] == 2


def test_train__a_run_that_fails_is_one_message_and_exit_code_1(
    uda4inst: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RunFailedError("loss must be finite, got source/mask = nan at step 6")

    monkeypatch.setattr(launch, "train", fail)
    code, out, err = uda4inst("train", "toystreets_smoke")
    assert (code, out) == (1, "")
    assert err == "error: loss must be finite, got source/mask = nan at step 6\n"


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        pytest.param(launch.Outcome("finished", 60), 0, id="finished"),
        pytest.param(launch.Outcome("stopped", 7), 0, id="stopped-by-request"),
        pytest.param(launch.Outcome("stopped", 7, 15), 143, id="SIGTERM"),
        pytest.param(launch.Outcome("stopped", 7, 2), 130, id="Ctrl-C"),
    ],
)
def test_train__exit_code_says_how_it_ended(
    uda4inst: Cli, monkeypatch: pytest.MonkeyPatch, outcome: launch.Outcome, code: int
) -> None:
    monkeypatch.setattr(launch, "train", lambda *_, **__: outcome)
    assert uda4inst("train", "toystreets_smoke")[0] == code


@pytest.mark.parametrize("lost", ["street.png", "street_labelIds.png"])
def test_predict__replaces_no_picture(uda4inst: Cli, tmp_path: Path, lost: str) -> None:
    for name in ("street.jpg", lost):
        Image.new("RGB", (8, 4)).save(tmp_path / name)
    before = (tmp_path / lost).read_bytes()
    pictures = {"street.png": ("street.png",), "street_labelIds.png": ("street.jpg", lost)}[lost]
    code, _, err = uda4inst("predict", "no_run", *pictures, "--out", ".")
    assert code == 2
    assert "--out must be a folder where results replace no picture" in err
    assert lost in err
    assert (tmp_path / lost).read_bytes() == before
    assert "no_run" in uda4inst("predict", "no_run", *pictures, "--out", "other")[2]


@pytest.fixture
def judged(toy: Path, tmp_path: Path) -> ImageTree:
    """Return a labelled tree, beside predictions of its objects two pixels off, in a file each."""
    truth = UrbanSyn(toy / "urbansyn")
    found = [
        ImagePredictions(truth.basename(i), truth.size_of(i), moved_objects(truth, i))
        for i in range(len(truth))
    ]
    write_results(tmp_path / "results.json", found)
    write_submission(tmp_path / "submission", found)
    return truth


def moved_objects(truth: ImageTree, index: int) -> tuple[ScoredMask, ...]:
    labels = truth.read_instances(index)
    return tuple(
        ScoredMask(int(label), 1 / number, np.roll(labels.ids == number, 2, axis=1))
        for number, label in enumerate(labels.labels, start=1)
    )


def table_cells(text: str) -> list[list[str]]:
    lines = [re.findall(r"[\w.-]+", line) for line in text.splitlines()]
    return [cells for cells in lines if cells]


def percent(measures: dict[str, float] | None) -> list[str]:
    return ["-"] * 2 if measures is None else [f"{100 * measures[m]:.1f}" for m in ("AP", "AP50")]


@pytest.mark.parametrize("predictions", ["results.json", "submission"])
def test_evaluate__predictions_for_any_labelled_data_set(
    uda4inst: Cli, judged: ImageTree, predictions: str
) -> None:
    arguments = ("--predictions", predictions, "--target", str(judged.root), "--split", "train")
    command = ("evaluate", *arguments, "--format", "urbansyn")
    expected = evaluate_predictions(Path(predictions), judged)
    code, out, err = uda4inst(*command, "--json")
    assert (code, err, json.loads(out)) == (0, "", expected)

    code, out, err = uda4inst(*command)
    assert (code, err) == (0, "")
    rows = {name: cells for name, *cells in table_cells(out)}
    assert 0.1 < expected["coco"]["AP"] < 0.9
    assert rows["all"] == percent(expected["cityscapes"]) + percent(expected["coco"])
    for name, of_class in expected["coco"]["per_class"].items():
        assert rows[name][2:] == percent(of_class)
    assert out.splitlines()[-1].endswith(" train")
    assert f"judged on {len(judged)} of {len(judged)} images of UrbanSyn" in out
    assert f"predictions, {len(judged)} of {len(judged)} images, per cent" in out


def test_evaluate__stored_predictions_of_a_group_are_judged_on_its_classes(
    uda4inst: Cli, toy: Path, tmp_path: Path
) -> None:
    roots = [f"data.{part}.root={toy / 'cityscapes'}" for part in ("target", "val")]
    settings = [f"data.source.root={toy / 'urbansyn'}", *roots, f"run.root={tmp_path}"]
    whole = load_config("toystreets_smoke", [*settings, "run.name=whole", "method.groups=two"])
    module = module_config(whole, whole.category_groups[-1])
    run = RunDir(Path(module.run.root) / module.run.name)
    create_run(run, config_yaml=to_yaml(module))
    truth, labels = require_validation(module), module.method.class_labels
    with writing_text(run.predictions_of(4) / "student.jsonl.gz", compressed=True) as write:
        for index in range(len(truth)):
            objects = truth.read_instances(index)
            found = tuple(
                ScoredMask(int(label), 0.9, objects.ids == number)
                for number, label in enumerate(objects.labels, start=1)
                if int(label) in labels
            )
            write(to_line(ImagePredictions(truth.basename(index), truth.size_of(index), found)))
    run.evaluation_of(4).write_text(json.dumps({"step": 4, "results": {"student": {}}}))
    code, out, err = uda4inst("evaluate", str(run.path), "--protocol", "cityscapes", "--json")
    assert (code, err) == (0, "")
    judged = json.loads(out)["results"]["student"]["cityscapes"]
    assert {name for name, scores in judged["per_class"].items() if scores} <= {*module.class_names}
    assert judged["AP"] == 1


def test_evaluate__predictions_by_pixels(uda4inst: Cli, judged: ImageTree) -> None:
    arguments = ("--predictions", "results.json", "--target", str(judged.root), "--split", "train")
    command = ("evaluate", *arguments, "--format", "urbansyn", "--protocol", "thing_pixels")
    expected = evaluate_predictions(Path("results.json"), judged, protocols=["thing_pixels"])
    code, out, err = uda4inst(*command, "--json")
    assert (code, err, json.loads(out)) == (0, "", expected)
    code, out, err = uda4inst(*command, "--protocol", "coco")
    assert (code, err) == (0, "")
    rows = {name: cells for name, *cells in table_cells(out)}
    pixels = expected["thing_pixels"]
    assert rows["all"][:2] == [f"{100 * pixels[m]:.1f}" for m in ("mIoU", "accuracy")]
    assert rows["car"][0] == f"{100 * pixels['per_class']['car']['IoU']:.1f}"
    assert len(rows["all"]) == 4
    code, _, err = uda4inst(*command[:-1], "pascal")
    assert (code, "among cityscapes, coco, thing_pixels, got" in err) == (2, True)


def test_evaluate__some_images_alone(uda4inst: Cli, judged: ImageTree) -> None:
    only = ImageList((judged.basename(1),))
    write_image_list(Path("list.txt"), only.names)
    for predictions in ("results.json", "submission"):
        arguments = ("--predictions", predictions, "--target", str(judged.root), "--split", "train")
        command = ("evaluate", *arguments, "--format", "urbansyn", "--images", "list.txt")
        code, out, err = uda4inst(*command, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == evaluate_predictions(Path(predictions), judged, only=only)
        assert json.loads(out)["images"] == 1
    Path("list.txt").write_text("nobody\n")
    code, _, err = uda4inst(*command)
    assert code == 2
    assert "must name images of the data set" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param(("--format", "urbansin"), "Did you mean urbansyn?", id="format"),
        pytest.param(("--format", "gta5"), "got gta5", id="no-instances"),
        pytest.param(("--format", "urbansyn", "--split", "val"), "must be 'train'", id="split"),
        pytest.param(
            ("--format", "urbansyn", "--split", "train", "--predictions", "no.json"),
            "got nothing there (no.json)",
            id="no-predictions",
        ),
    ],
)
def test_evaluate__predictions_that_cannot_be_judged(
    uda4inst: Cli, judged: ImageTree, more: tuple[str, ...], words: str
) -> None:
    arguments = ("--predictions", "results.json", "--target", str(judged.root))
    code, out, err = uda4inst("evaluate", *arguments, *more)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert words in err


def test_data_toystreets__made_once(uda4inst: Cli, tmp_path: Path) -> None:
    arguments = ("data", "toystreets", "toy", "--size", "64x128", "--train", "1", "--val", "1")
    code, out, _ = uda4inst(*arguments, "--workers", "0")
    assert code == 0
    assert str(tmp_path / "toy" / "urbansyn") in out
    image = next((tmp_path / "toy" / "cityscapes" / "leftImg8bit" / "val").rglob("*.png"))
    made = image.stat().st_mtime_ns
    assert uda4inst(*arguments)[0] == 0
    assert image.stat().st_mtime_ns == made


def test_data_toystreets__says_how_many_objects_are_judged(uda4inst: Cli) -> None:
    arguments = ("--train", "1", "--val", "1", "--val-objects", "1", "--workers", "0")
    code, out, _ = uda4inst("data", "toystreets", "toy", *arguments)
    judged = out.splitlines()[-1]
    assert code == 0
    assert judged.startswith("judged objects of val (100 pixels or more): person ")
    counts = [int(word.rstrip(",")) for word in judged.split(": ")[1].split()[1::2]]
    assert len(counts) == 8
    assert min(counts) >= 1


def test_doctor__prints_and_ends_well(uda4inst: Cli) -> None:
    code, out, _ = uda4inst("doctor")
    assert code == 0
    for word in ("python", "torch", "device", "memory", "threads", "detectron2"):
        assert word in out


def test_doctor__json(uda4inst: Cli) -> None:
    code, out, _ = uda4inst("doctor", "--json")
    assert code == 0
    findings = {f["name"]: f for f in json.loads(out)}
    assert findings["torch"]["state"] == "good"
    assert all(f["remedy"] for f in findings.values() if f["state"] != "good")


def find(name: str) -> doctor.Diagnosis:
    return next(f for f in doctor.examine() if f.name == name)


def test_doctor__torchvision_built_for_another_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    info = tmp_path / "torchvision-0.28.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    finding = find("torchvision")
    assert finding.state == "broken"
    assert "torchvision::nms" in finding.value
    assert "pip uninstall torchvision" in finding.remedy


@pytest.mark.parametrize(
    ("has_mongod", "uri", "state"),
    [
        pytest.param(False, None, "broken", id="missing"),
        pytest.param(True, None, "good", id="its-own"),
        pytest.param(False, "mongodb://127.0.0.1:27017", "good", id="elsewhere"),
    ],
)
def test_doctor__mongod(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_mongod: bool,
    uri: str | None,
    state: str,
) -> None:
    package = tmp_path / "fiftyone"
    (package / "db" / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    if has_mongod:
        (package / "db" / "bin" / "mongod").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fiftyone", raising=False)  # the real one, of other tests
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    if uri:
        monkeypatch.setenv("FIFTYONE_DATABASE_URI", uri)
    finding = find("mongod")
    assert finding.state == state
    assert bool(finding.remedy) == (state == "broken")


def test_doctor__detectron2_is_optional() -> None:
    finding = find("detectron2")
    assert finding.state == "absent"
    assert finding.remedy.startswith("Optional")


# A choice without labels ------------------------------------------------------------------------


def begun_run(root: Path, preset: str, name: str) -> Path:
    """Write a run that has a configuration and nothing else yet."""
    run = root / "runs" / name
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(to_yaml(load_config(preset, [f"run.name={name}"])))
    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((), "given a RUN or more, or --suite, got neither", id="nothing"),
        pytest.param(("begun", "--suite", "."), "or --suite, got both", id="both"),
        pytest.param(("nowhere",), "RUN must be a run folder", id="no-run"),
        pytest.param(("begun",), "steps: none", id="no-checkpoints"),
        pytest.param(("maps",), "instance segmentation, got one of semantic", id="semantic"),
        pytest.param(("maps", "nowhere"), "RUN must be a run folder", id="all-are-looked-for"),
        pytest.param(("begun", "--thresholds", ".5,x"), "--thresholds must be", id="words"),
        pytest.param(("begun", "--thresholds", ".5,.5"), "--thresholds must be", id="twice"),
        pytest.param(("begun", "--thresholds", "1"), "--thresholds must be", id="nothing-exceeds"),
        pytest.param(("--suite", "."), "must hold a readable suite.yaml", id="no-suite"),
    ],
)
def test_choose__mistake_is_one_message_and_exit_code_2(
    uda4inst: Cli, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    begun_run(tmp_path, "toystreets_smoke", "begun")
    begun_run(tmp_path, "toystreets_semantic_smoke", "maps")
    code, out, err = uda4inst("choose", *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert words in err
    assert out == ""
    assert not list(tmp_path.rglob("choice.json"))
