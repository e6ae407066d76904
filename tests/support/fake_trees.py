"""A small fake renderer, and trees written with it in both formats."""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from uda4inst.toystreets.write import ToyStreetsTree, write_toystreets

SIZE = (48, 96)
THING_TRAIN_ID = 11


@dataclass(frozen=True)
class FakeScene:
    image: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    semantic: np.ndarray
    ego: np.ndarray
    group: np.ndarray


def render_fake(
    *, seed: int, domain: str, split: str, index: int, size: tuple[int, int]
) -> FakeScene:
    """Rectangles of every class over bands of stuff; some void, one group, a fixed ego vehicle."""
    height, width = size
    key = zlib.crc32(f"{domain}/{split}".encode())
    rng = np.random.default_rng([seed, key, index])
    rows, columns = np.mgrid[:height, :width]
    semantic = np.where(rows < height // 3, 10, 0).astype(np.uint8)
    semantic[:, : width // 8] = rng.integers(1, 9)
    ids = np.zeros(size, dtype=np.int32)
    labels = rng.permutation(np.repeat(np.arange(8), 2))[: 5 + index % 6]
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for k, label in enumerate(labels, start=1):
        top, left = rng.integers(0, height - 12), rng.integers(0, width - 12)
        inside = (rows >= top) & (rows < top + 11) & (columns >= left) & (columns < left + 10)
        ids[inside] = k
        semantic[inside] = THING_TRAIN_ID + label
        image[inside] = 20 * k
    semantic[-9:-6, : width // 3] = 255
    ids[-9:-6, : width // 3] = 0
    group = np.zeros(size, dtype=np.uint8)
    ego = np.zeros(size, dtype=bool)
    if domain == "camera":
        crowd = np.zeros(size, dtype=bool)
        crowd[2:8, -9:] = True
        group[crowd], ids[crowd], semantic[crowd] = 3, -1, THING_TRAIN_ID + 2
        ego[-4:, width // 4 : -width // 4] = True
        ids[ego], semantic[ego], group[ego] = 0, 255, 0
    areas = np.bincount(ids[ids > 0], minlength=len(labels) + 1)[1:]
    seen = np.flatnonzero(areas > 0)
    table = np.zeros(len(labels) + 2, dtype=np.int32)
    table[seen + 1] = np.arange(1, len(seen) + 1)
    table[-1] = -1  # index -1: the group
    return FakeScene(image, table[ids], labels[seen].astype(np.int64), semantic, ego, group)


def digest(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def fake_render() -> Callable[..., FakeScene]:
    return render_fake


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> ToyStreetsTree:
    """A read-only tree shared by all tests: 6 train and 3 val images of 48x96."""
    out = tmp_path_factory.mktemp("toystreets") / "tree"
    return write_toystreets(out, size=SIZE, train=6, val=3, seed=5, workers=0, render=render_fake)


@pytest.fixture
def own_tree(tree: ToyStreetsTree, tmp_path: Path) -> ToyStreetsTree:
    """A copy of the tree that a test may break."""
    out = tmp_path / "tree"
    shutil.copytree(tree.source_root.parent, out)
    return ToyStreetsTree(out / "urbansyn", out / "cityscapes")
