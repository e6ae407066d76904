"""`uda4inst convert`: what people type, what they read, and what then lies there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Cli, in_process

from uda4inst.exchange.class_names import COCO_THINGS
from uda4inst.exchange.model_zoo import load_zoo, write_zoo
from uda4inst.methods.updates import STUDENT
from uda4inst.models.mask2former.network import Mask2Former, build_model
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.models.storage import save_network
from uda4inst.reading import read_json
from uda4inst.run_folder.checkpoints import Contents, save_checkpoint
from uda4inst.run_folder.layout import RunDir, create_run
from uda4inst.training.config import load_config, to_yaml

pytestmark = pytest.mark.usefixtures("tiny_is_mini")


@pytest.fixture
def convert(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Cli:
    monkeypatch.chdir(tmp_path)
    return in_process(monkeypatch, capsys, "convert")


def network(classes: int) -> Mask2Former:
    torch.manual_seed(classes)
    return Mask2Former(MODEL_PRESETS["tiny"], num_classes=classes).eval()


@pytest.mark.parametrize(
    ("classes", "said", "first"),
    [
        (80, "80 classes (COCO's things): in training the head is drawn anew", "person"),
        (8, "Cityscapes' eight things, which are ours: the head is kept", "person"),
        (133, "133 classes (COCO's things and stuff): in training the head is drawn anew", "0"),
        (3, "3 classes (classes of its own)", "0"),
    ],
)
def test_convert__makes_a_folder_that_training_takes(
    tmp_path: Path, convert: Cli, classes: int, said: str, first: str
) -> None:
    theirs = network(classes)
    write_zoo(theirs, tmp_path / "model_final.pkl")

    code, out, err = convert("model_final.pkl", "ours")

    assert (code, err) == (0, "")
    assert said in out
    assert "model.preset=tiny model.weights=ours" in out
    (tmp_path / "a file").touch()
    mode = (tmp_path / "a file").stat().st_mode
    assert {path.stat().st_mode for path in (tmp_path / "ours").iterdir()} == {mode}
    config = read_json(tmp_path / "ours" / "config.json")
    assert len(config["id2label"]) == classes
    assert config["id2label"]["0"] == first
    model, report = build_model("tiny", weights=tmp_path / "ours")
    kept = classes == 8
    assert bool(report.reinitialised) != kept
    own, wanted = model.state_dict(), theirs.state_dict()
    head = [name for name in own if "class_predictor" in name]
    assert all(torch.equal(own[n], wanted[n]) for n in own if kept or n not in head)


def test_convert__names_the_classes_of_a_head_as_told(tmp_path: Path, convert: Cli) -> None:
    """Eight classes that are not ours: training does not take their head for ours."""
    write_zoo(network(8), tmp_path / "a.pkl")

    code, out, _ = convert("a.pkl", "ours", "--classes", "a, b, c, d, e, f, g, h")

    assert code == 0
    assert "8 classes (classes of its own): in training the head is drawn anew" in out
    assert read_json(tmp_path / "ours" / "config.json")["id2label"]["1"] == "b"
    _, report = build_model("tiny", weights=tmp_path / "ours")
    assert report.reinitialised == (
        "network.class_predictor.bias",
        "network.class_predictor.weight",
    )


def test_convert__goes_back_from_the_folder(tmp_path: Path, convert: Cli) -> None:
    theirs = network(80)
    write_zoo(theirs, tmp_path / "a.pkl")
    convert("a.pkl", "ours")

    code, out, err = convert("ours", "back.pth")

    assert (code, err) == (0, "")
    assert "tiny, 80 classes: " in out
    found = load_zoo(tmp_path / "back.pth").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in theirs.state_dict().items())


def test_convert__goes_back_from_a_file_of_ours(tmp_path: Path, convert: Cli) -> None:
    save_network(network(8), tmp_path / "student.safetensors")

    code, _, err = convert("student.safetensors", "back.pkl")

    assert (code, err) == (0, "")
    found = load_zoo(tmp_path / "back.pkl").state_dict()
    assert all(torch.equal(found[name], t) for name, t in network(8).state_dict().items())


@pytest.mark.parametrize(("asked", "taken"), [((), 1), (("--network", "student"), 0)])
def test_convert__goes_back_from_a_run(
    tmp_path: Path, convert: Cli, asked: tuple[str, ...], taken: int
) -> None:
    run = RunDir(tmp_path / "runs" / "one")
    create_run(run, config_yaml=to_yaml(load_config("toystreets_smoke", ["run.name=one"])))
    networks = [network(8), network(8)]
    for parameter in networks[1].parameters():
        parameter.data += 1
    save_checkpoint(
        run.checkpoints,
        Contents(
            step=3,
            stage=2,
            networks={STUDENT: networks[0], "teacher": networks[1]},
            optimizer={},
            state={},
            config_hash="0",
            kept=False,
        ),
        kept=1,
    )

    code, out, err = convert("one", "back.pkl", *asked)

    assert (code, err) == (0, ""), out
    found = load_zoo(tmp_path / "back.pkl").state_dict()
    assert all(torch.equal(found[n], t) for n, t in networks[taken].state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.pkl", "there"), "OUT must be new, got there"),
        (("a.pkl", "notes.txt/ours"), "file must be usable"),
        (("a.pkl", "ours", "--classes", "a,b"), "must name the 3 classes of the head, each once"),
        (("a.pkl", "ours", "--classes", "a,b,b"), "each once, got 3: a, b, b"),
        (("a.pkl", "ours", "--preset", "swin"), "--preset must be one of tiny"),
        (("half.pkl", "ours"), "SOURCE must be a whole checkpoint of detectron2"),
        (("none.pkl", "ours"), "got one that cannot be read: No such file or directory (none.pkl)"),
        (("notes.txt", "ours"), "SOURCE must be a whole checkpoint of detectron2"),
        (("there", "back.pkl"), "RUN must be a run folder"),
        (("there", "back.onnx"), "OUT must end in .pkl or .pth where SOURCE is ours"),
        (("there", "b.pkl", "--classes", "a"), "are about a .pkl or .pth of detectron2"),
        (("empty.safetensors", "b.pkl"), "must be a complete .safetensors file"),
    ],
)
def test_convert__ends_in_one_message(
    tmp_path: Path, convert: Cli, arguments: tuple[str, ...], message: str
) -> None:
    write_zoo(network(3), tmp_path / "a.pkl")
    whole = (tmp_path / "a.pkl").read_bytes()
    (tmp_path / "half.pkl").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "there").mkdir()
    (tmp_path / "notes.txt").write_text("weights")
    (tmp_path / "empty.safetensors").touch()
    before = sorted(tmp_path.iterdir())

    code, _, err = convert(*arguments)

    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


def test_coco_things__are_80_different_names() -> None:
    assert len(set(COCO_THINGS)) == 80
    assert COCO_THINGS[:3] == ("person", "bicycle", "car")
    assert COCO_THINGS[-1] == "toothbrush"
