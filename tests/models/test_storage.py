"""Equal values are equal files, wherever they come from."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from uda4inst.models.mask2former.network import Mask2Former
from uda4inst.models.storage import on_host, save_network


def packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(on_host(value), buffer)
    return buffer.getvalue()


def made_anew(text: str) -> str:
    """Return an equal text that is another object."""
    return "".join(list(text))


def test_save_network__equal_networks_are_equal_files(
    tmp_path: Path, make_mini: Callable[..., Mask2Former]
) -> None:
    network = make_mini()
    files = [tmp_path / f"{number}.safetensors" for number in range(12)]
    for path in files:
        save_network(network, path)
    assert len({path.read_bytes() for path in files}) == 1
    loaded = load_file(files[0])
    assert all(torch.equal(loaded[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"names": ["a b", made_anew("a b")]}, {"names": ["a b", "a b"]}, id="texts"),
        pytest.param(
            [{made_anew("x y"): 1}, {made_anew("x y"): 2}], [{"x y": 1}, {"x y": 2}], id="keys"
        ),
        pytest.param(
            {"part": torch.arange(8.0)[2:4]}, {"part": torch.tensor([2.0, 3.0])}, id="part"
        ),
    ],
)
def test_on_host__equal_values_are_equal_files(one: Any, other: Any) -> None:
    assert packed(one) == packed(other)
