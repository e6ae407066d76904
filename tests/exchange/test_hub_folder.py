"""Folders in the hub's format: the library loads them, and so do we, with equal outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    Mask2FormerForUniversalSegmentation,
    SegformerForSemanticSegmentation,
    pipeline,
)

from uda4inst.classes import THING_NAMES
from uda4inst.data.config import DatasetRef
from uda4inst.errors import UserError
from uda4inst.exchange.hub_folder import export_run, open_exported
from uda4inst.models.mask2former.network import build_model
from uda4inst.models.semantic.build import build_semantic
from uda4inst.ops.unit_floats import unit_floats
from uda4inst.run_folder.checkpoints import open_checkpoint
from uda4inst.run_folder.layout import RunDir
from uda4inst.training.config import load_config
from uda4inst.training.validation import load_network

# What loads the exported folder there; found missing in 5.17.0, there in 5.23.0.
needs_image_processors = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.23"),
    reason="image processors of this transformers need torchvision",
)

MakeRun = Callable[..., RunDir]


def picture(*, size: tuple[int, int] = (64, 128)) -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> torch.Tensor:
    return unit_floats(torch.from_numpy(np.array(image))).permute(2, 0, 1)[None]


def own_network(run: RunDir, name: str) -> Any:
    config, checkpoint = load_config(run.config), open_checkpoint(run.checkpoints)
    return load_network(config, checkpoint, name, torch.device("cpu"))


@torch.no_grad()
@needs_image_processors
def test_export_run__mask2former_is_the_librarys_up_to_rounding(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    (folder,) = export_run(run, tmp_path / "out")
    theirs = Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    inputs = AutoImageProcessor.from_pretrained(folder)(picture(), return_tensors="pt")
    ours = own_network(run, "teacher")
    assert torch.equal(inputs["pixel_values"], ours.pixels(pixels(picture())))
    found, wanted = theirs(**inputs), ours(pixels(picture()))
    torch.testing.assert_close(
        found.class_queries_logits, wanted.class_logits[-1], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        found.masks_queries_logits, wanted.mask_logits[-1], rtol=1e-4, atol=1e-4
    )
    assert theirs.config.id2label == dict(enumerate(THING_NAMES))
    assert theirs.config.label2id == {name: i for i, name in enumerate(THING_NAMES)}


@torch.no_grad()
def test_export_run__comes_back_to_the_bit(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (folder,) = export_run(run, tmp_path / "out", network="student")
    ours, again = own_network(run, "student"), open_exported(folder).load().network
    start, report = build_model("tiny", weights=folder)
    assert report.reinitialised == report.missing == report.unexpected == ()
    wanted = ours(pixels(picture()))
    for network in (again, start.eval()):
        found = network(pixels(picture()))
        assert torch.equal(found.class_logits, wanted.class_logits)
        assert torch.equal(found.mask_logits[-1], wanted.mask_logits[-1])


@torch.no_grad()
@needs_image_processors
def test_export_run__segformer_is_the_librarys_to_the_bit(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(preset="toystreets_semantic_smoke")
    (folder,) = export_run(run, tmp_path / "out")
    theirs = SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    inputs = AutoImageProcessor.from_pretrained(folder)(picture(), return_tensors="pt")
    wanted = own_network(run, "teacher")(pixels(picture())).logits
    assert torch.equal(theirs(**inputs).logits, wanted)
    again = build_semantic("mit_tiny", weights=folder)[0].eval()
    assert torch.equal(again(pixels(picture())).logits, wanted)


@needs_image_processors
@pytest.mark.parametrize(
    ("preset", "settings", "labels"),
    [
        ("toystreets_smoke", {"subtask": "instance", "threshold": 0.0}, set(THING_NAMES)),
        ("toystreets_semantic_smoke", {}, None),
    ],
)
def test_export_run__the_pipeline_takes_it(
    make_run: MakeRun,
    tmp_path: Path,
    preset: str,
    settings: dict[str, Any],
    labels: set[str] | None,
) -> None:
    run = make_run(preset=preset)
    (folder,) = export_run(run, tmp_path / "out")
    segments = pipeline("image-segmentation", model=str(folder))(picture(), **settings)
    assert segments
    names = {segment["label"] for segment in segments}
    assert names <= (labels or set(load_config(run.config).task.class_names))
    assert all(segment["mask"].size == (128, 64) for segment in segments)


@needs_image_processors
def test_export_run__resizes_as_the_run_is_judged(make_run: MakeRun, tmp_path: Path) -> None:
    (folder,) = export_run(make_run("evaluation.short_side=32"), tmp_path / "out")
    inputs = AutoImageProcessor.from_pretrained(folder)(picture(), return_tensors="pt")
    assert inputs["pixel_values"].shape[-2:] == (32, 64)
    assert open_exported(folder).load().short_side == 32


def test_exported__is_judged_as_its_run(evaluated_run: RunDir, toy: Path, tmp_path: Path) -> None:
    (folder,) = export_run(evaluated_run, tmp_path / "out")
    ref = DatasetRef.model_validate(
        {"format": "cityscapes", "root": str(toy / "cityscapes"), "split": "val"}
    )
    found = open_exported(folder).evaluate(ref)
    record = json.loads(evaluated_run.evaluation_of(20).read_text())
    assert found["results"] == {"teacher": record["results"]["teacher"]}
    assert {k: found[k] for k in ("step", "images", "config_hash")} == {
        k: record[k] for k in ("step", "images", "config_hash")
    }


def test_export_run__category_groups_get_a_folder_each(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("method.groups=two", "method.pool.rare_classes=[person, car]")
    folders = export_run(run, tmp_path / "out")
    config = load_config(run.config)
    assert [open_exported(f).facts.classes for f in folders] == list(config.category_groups)
    assert "leave what it says of the others out" in (folders[0] / "README.md").read_text()


@pytest.mark.parametrize("preset", ["daformer_tiny", "deeplab_tiny", "bisenet_tiny"])
def test_export_run__a_network_the_library_lacks_is_one_sentence(
    make_run: MakeRun, tmp_path: Path, preset: str
) -> None:
    run = make_run(f"model.preset={preset}", preset="toystreets_semantic_smoke")
    with pytest.raises(UserError, match=rf"Mask2Former or SegFormer.*got preset '{preset}'"):
        export_run(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_run__leaves_what_has_the_name(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"OUT must be new"):
        export_run(run, tmp_path / "out")
    with pytest.raises(UserError, match=r"got 'critic'"):
        export_run(run, tmp_path / "other", network="critic")
    assert list(tmp_path.glob("*other*")) == []


def edit_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


MASKS = "model.transformer_module.queries_features.weight"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "complete model.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "config.json must be readable JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json must be an object"),
        (lambda f: edit_config(f, model_type="bert"), "model_type mask2former or segformer.*bert"),
        (lambda f: edit_config(f, model_type=["a"]), "model_type mask2former or segformer.*'a'"),
        (lambda f: edit_config(f, uda4inst={"classes": [["car"]]}), "classes must be of person"),
        (lambda f: edit_config(f, hidden_dim=40), "hidden_dim is 40, not 32"),
        (lambda f: edit_config(f, hidden_dim="wide"), "config.json must"),
        (lambda f: edit_config(f, backbone_config=3), "config.json must"),
        (lambda f: edit_config(f, uda4inst={"classes": ["cow"]}), "uda4inst.classes must be of"),
        (lambda f: edit_config(f, uda4inst=3), "uda4inst.classes must be of"),
        (
            lambda f: edit_config(f, uda4inst={"classes": ["car"], "short_side": "big"}),
            "short_side must be null or",
        ),
        (
            lambda f: edit_weights(f, lambda t: t.update({MASKS: t[MASKS][:3].clone()})),
            "must fit the network tensor by tensor.*differing.*queries_features",
        ),
        (
            lambda f: edit_weights(f, lambda t: t.pop(MASKS)),
            "must fit the network tensor by tensor.*missing.*queries_features",
        ),
        (
            lambda f: edit_weights(f, lambda t: t[MASKS].fill_(torch.nan)),
            "must be finite numbers.*queries_features",
        ),
        (
            lambda f: edit_weights(
                f, lambda t: t.update({n: t[n][:5].clone() for n in t if "class_pred" in n})
            ),
            "must hold the whole network, of 8 classes",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"\1" * 200),
            "must be readable|must be a complete",
        ),
    ],
)
def test_open_exported__an_edited_folder_is_one_message(
    make_run: MakeRun, tmp_path: Path, edit: Callable[[Path], object], message: str
) -> None:
    (folder,) = export_run(make_run(), tmp_path / "out")
    edit(folder)
    with pytest.raises(UserError, match=message):
        open_exported(folder).load()


def test_open_exported__a_folder_that_the_library_wrote(make_run: MakeRun, tmp_path: Path) -> None:
    (folder,) = export_run(make_run(), tmp_path / "out")
    Mask2FormerForUniversalSegmentation.from_pretrained(folder).save_pretrained(tmp_path / "again")
    again = open_exported(tmp_path / "again")
    assert again.facts == open_exported(folder).facts
    shutil.copytree(tmp_path / "again", tmp_path / "foreign")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    del config["uda4inst"]
    (tmp_path / "foreign" / "config.json").write_text(json.dumps(config))
    assert open_exported(tmp_path / "foreign").load().classes == THING_NAMES
