"""ONNX files say what their networks say, or are not there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from uda4inst.exchange import onnx_file
from uda4inst.exchange.onnx_file import export_onnx
from uda4inst.run_folder.layout import RunDir

MakeRun = Callable[..., RunDir]


def needs_onnx() -> Any:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason="needs the extra onnx")
    return pytest.importorskip("onnxruntime", reason="needs the extra onnx")


def test_export_onnx__without_the_extra_is_one_sentence(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"got no onnx, onnxscript, onnxruntime.*uda4inst\[onnx\]"):
        export_onnx(run, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("preset", ["toystreets_smoke", "toystreets_semantic_smoke"])
def test_export_onnx__is_the_network(make_run: MakeRun, tmp_path: Path, preset: str) -> None:
    runtime = needs_onnx()
    (done,) = export_onnx(make_run(preset=preset), tmp_path / "a.onnx", size=(64, 96))
    assert done.difference < onnx_file.TOLERANCE
    session = runtime.InferenceSession(str(done.path))
    assert session.get_inputs()[0].shape == [1, 3, 64, 96]
    metadata = session.get_modelmeta().custom_metadata_map
    assert "car" in metadata["classes"]
    assert metadata["network"] == "teacher of step 20"


@pytest.mark.filterwarnings("ignore")
def test_export_onnx__what_differs_is_not_kept(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_onnx()
    run = make_run(preset="toystreets_semantic_smoke")
    monkeypatch.setattr(onnx_file, "TOLERANCE", 0.0)
    with pytest.raises(UserError, match="must say what the network says"):
        export_onnx(run, tmp_path / "a.onnx")
    assert list(tmp_path.glob("*.onnx")) == []


def test_export_onnx__what_the_exporter_says_is_one_sentence(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator\nand a page more")

    run = make_run(preset="toystreets_semantic_smoke")
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: sys)
    monkeypatch.setattr(onnx_file.torch.onnx, "export", refuse)
    with pytest.raises(UserError, match=r"can follow, got no such operator \(torch"):
        export_onnx(run, tmp_path / "a.onnx")
