"""The KITTI-360 loader, against files written here value by value."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from uda4inst.data.readers import Kitti360
from uda4inst.data.tree import check_sizes
from uda4inst.errors import UserError
from uda4inst.toystreets import render_scene

# Cityscapes label id of every trainId.
LABEL_IDS = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])


def drive(sequence: int = 3, camera: int = 0) -> str:
    return f"2013_05_28_drive_{sequence:04d}_sync/image_{camera:02d}"


def line_of(frame: int, sequence: int = 3, camera: int = 0) -> str:
    where = drive(sequence, camera)
    return (
        f"data_2d_raw/{where}/data_rect/{frame:010d}.png "
        f"data_2d_semantics/train/{where}/semantic/{frame:010d}.png"
    )


def write_split(root: Path, text: str | bytes, split: str = "train") -> Path:
    path = root / f"data_2d_semantics/train/2013_05_28_drive_{split}_frames.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_frame(
    root: Path,
    raw: np.ndarray | list[list[int]],
    semantic: np.ndarray | list[list[int]] | None = None,
    *,
    frame: int = 250,
    sequence: int = 3,
    camera: int = 0,
) -> Path:
    """Write one frame with these instance values; semantic ids are the values' thousands."""
    values = np.array(raw, dtype=np.uint16)
    classes = values // 1000 if semantic is None else np.array(semantic)
    where = drive(sequence, camera)
    image = np.full((*values.shape, 3), (10, 20, 30), np.uint8)
    maps = {"semantic": classes.astype(np.uint8), "instance": values}
    files = {f"data_2d_raw/{where}/data_rect": image}
    files |= {f"data_2d_semantics/train/{where}/{kind}": data for kind, data in maps.items()}
    for folder, data in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(data).save(root / folder / f"{frame:010d}.png")
    return root


def tree_of(root: Path, raw: list[list[int]], semantic: list[list[int]] | None = None) -> Kitti360:
    write_split(write_frame(root, raw, semantic), line_of(250))
    return Kitti360(root)


def label_file(root: Path, kind: str) -> Path:
    return root / f"data_2d_semantics/train/{drive()}/{kind}/0000000250.png"


@pytest.mark.parametrize("index", [0, 1, 3])
def test_read_labels__toystreets_scene(tmp_path: Path, index: int) -> None:
    scene = render_scene(seed=4, domain="camera", split="val", index=index, size=(64, 128))
    plain = np.append(LABEL_IDS, [0] * 237)[scene.semantic]
    numbers = np.maximum(scene.ids, 0)
    write_frame(tmp_path, plain * 1000 + numbers)
    write_split(tmp_path, line_of(250))
    read = Kitti360(tmp_path).read_labels(0)
    np.testing.assert_array_equal(read.semantic, scene.semantic)
    things = (scene.semantic >= 11) & (scene.semantic < 19)
    np.testing.assert_array_equal(read.ids == -1, things & (scene.ids <= 0))
    assert sorted(read.labels) == sorted(scene.labels)
    for k, label in enumerate(scene.labels, start=1):
        (mine,) = np.unique(read.ids[scene.ids == k])
        assert np.array_equal(read.ids == mine, scene.ids == k)
        assert read.labels[mine - 1] == label


def test_read_labels__number_is_the_rest_of_a_thousand(tmp_path: Path) -> None:
    read = tree_of(tmp_path, [[26999, 26001, 24001, 26000, 33255]]).read_labels(0)
    assert read.ids.tolist() == [[3, 2, 1, -1, 4]]
    assert read.labels.tolist() == [0, 2, 2, 7]
    assert (read.ids.dtype, read.labels.dtype, read.semantic.dtype) == ("int32", "int64", "uint8")


def test_read_labels__plain_value_is_no_group(tmp_path: Path) -> None:
    read = tree_of(tmp_path, [[26, 999, 0]], [[7, 7, 7]]).read_labels(0)
    assert read.ids.tolist() == [[0, 0, 0]]


def test_read_labels__numbered_stuff_is_no_object(tmp_path: Path) -> None:
    read = tree_of(tmp_path, [[11002, 17005, 19001, 20003, 29001, 43001]]).read_labels(0)
    assert read.ids.tolist() == [[0] * 6]
    assert read.semantic.tolist() == [[2, 5, 6, 7, 255, 255]]
    assert len(read.labels) == 0


def test_read_labels__ids_beyond_cityscapes(tmp_path: Path) -> None:
    read = tree_of(tmp_path, [[v * 1000 for v in range(34, 45)]]).read_labels(0)
    assert read.semantic.tolist() == [[2, 4, 255, 5, 255, 255, 255, 255, 255, 255, 255]]


def test_read_labels__thing_without_object_is_ignored(tmp_path: Path) -> None:
    read = tree_of(tmp_path, [[7000, 7000, 26001]], [[26, 29, 26]]).read_labels(0)
    assert read.ids.tolist() == [[-1, 0, 1]]


def test_read_instance_ids__as_cityscapes_has_them(tmp_path: Path) -> None:
    dataset = tree_of(tmp_path, [[26007, 26003, 26000, 7000, 38000]])
    assert dataset.read_instance_ids(0).tolist() == [[26001, 26000, 26, 7, 0]]


def test_records__come_from_the_split_file_alone(tmp_path: Path) -> None:
    for frame, sequence, camera in ((250, 3, 0), (9, 3, 1), (11, 0, 0), (7, 0, 0)):
        write_frame(tmp_path, [[0]], frame=frame, sequence=sequence, camera=camera)
    write_split(tmp_path, f"{line_of(250)}\n{line_of(9, 3, 1)}\n{line_of(7, 0)}\n")
    write_split(tmp_path, line_of(11, 0), "val")
    names = [record.sample_id for record in Kitti360(tmp_path).records]
    assert names == ["0000_00_0000000007", "0003_00_0000000250", "0003_01_0000000009"]
    assert Kitti360(tmp_path, "val").basename(0) == "0000_00_0000000011"
    assert Kitti360(tmp_path, "val").domain == "target"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + line_of(250),
        line_of(250) + "\r\n\r\n",
        "\n\n  " + line_of(250).replace(" ", "\t") + "  \n",
    ],
    ids=["byte order mark", "CRLF", "blank lines and tabs"],
)
def test_split_file__written_by_any_editor(tmp_path: Path, text: str) -> None:
    write_split(write_frame(tmp_path, [[7000]]), text)
    assert len(Kitti360(tmp_path)) == 1


def test_kitti360__root_with_spaces_and_umlauts(tmp_path: Path) -> None:
    dataset = tree_of(tmp_path / "my däta (2)", [[26001]])
    assert dataset.sample(0).known_instances().labels.tolist() == [2]
    check_sizes(dataset)


def test_kitti360__asks_for_folders_not_for_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for frame in range(40):
        write_frame(tmp_path, [[0]], frame=frame)
    write_split(tmp_path, "\n".join(line_of(frame) for frame in range(40)))
    asked: list[str] = []
    stat = Path.stat

    def note(self: Path, **options: bool) -> object:
        asked.append(self.name)
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", note)
    assert len(Kitti360(tmp_path)) == 40
    assert not [name for name in asked if name.endswith(".png")]
    assert len(asked) < 20


def test_kitti360__without_labels_needs_pictures_alone(tmp_path: Path) -> None:
    write_split(write_frame(tmp_path, [[7000]]), line_of(250))
    label_file(tmp_path, "semantic").unlink()
    dataset = Kitti360(tmp_path, require_labels=False)
    assert dataset.records[0].labels == ()
    assert dataset.read_image(0).tolist() == [[[10, 20, 30]]]
    with pytest.raises(UserError, match="got a tree opened without labels"):
        dataset.read_labels(0)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "got none .*train_frames.txt"),
        ("\n\n", "got none .*train_frames.txt"),
        ("data_2d_raw/only/one.png", r"1 others: line 1 'data_2d_raw/only/one.png' .*train_frames"),
        (line_of(250) + " more", "1 others: line 1 "),
        (line_of(250) + "\n" + line_of(250), "line 2 again 0003_00_0000000250 .*train_frames.txt"),
        (line_of(250).replace("semantic/", "instance/"), "1 others: line 1 "),
        (line_of(250).replace("/semantic/0000000250", "/semantic/0000000251"), "1 others: line 1 "),
        (line_of(250).replace("image_00/semantic", "image_01/semantic"), "1 others: line 1 "),
        ("/" + line_of(250), "1 others: line 1 '/data_2d_raw"),
        (line_of(250).replace("data_2d_raw", "../data_2d_raw"), "1 others: line 1 "),
        (line_of(250).replace(".png", ".PNG"), "1 others: line 1 "),
        (b"\xff\xfe\x00d", "split file must be text, got .*train_frames.txt"),
    ],
    ids=[
        "empty",
        "blank",
        "one path",
        "three paths",
        "frame twice",
        "instance map named",
        "other frame",
        "other camera",
        "absolute",
        "outside",
        "case",
        "UTF-16",
    ],
)
def test_kitti360__malformed_split_file(tmp_path: Path, text: str | bytes, got: str) -> None:
    write_split(write_frame(tmp_path, [[7000]]), text)
    with pytest.raises(UserError, match=got):
        Kitti360(tmp_path)


@pytest.mark.parametrize("kind", ["semantic", "instance"])
def test_kitti360__frames_without_labels_are_named_once(tmp_path: Path, kind: str) -> None:
    for frame in (1, 2, 250):
        write_frame(tmp_path, [[7000]], frame=frame)
    write_split(tmp_path, "\n".join(line_of(frame) for frame in (1, 2, 250)))
    label_file(tmp_path, kind).unlink()
    with pytest.raises(UserError, match=rf"3 frames .* got 1 missing .*{kind}/0000000250.png"):
        Kitti360(tmp_path)


def test_kitti360__split_file_names_pictures_that_are_not_there(tmp_path: Path) -> None:
    write_frame(tmp_path, [[7000]])
    write_split(tmp_path, f"{line_of(250)}\n{line_of(251)}\n{line_of(1, 9)}")
    message = r"got 2 missing .*_0003_sync/.*251.png, .*_0009_sync/.*001.png \(.*train_frames.txt"
    with pytest.raises(UserError, match=message):
        Kitti360(tmp_path, require_labels=False)


def test_kitti360__picture_named_in_another_case(tmp_path: Path) -> None:
    write_split(write_frame(tmp_path, [[7000]]), line_of(250))
    path = tmp_path / f"data_2d_raw/{drive()}/data_rect/0000000250.png"
    path.rename(path.with_suffix(".PNG"))
    with pytest.raises(UserError, match=r"1 missing .*data_rect/0000000250.png"):
        Kitti360(tmp_path)


def test_kitti360__no_split_file(tmp_path: Path) -> None:
    write_frame(tmp_path, [[7000]])
    with pytest.raises(UserError, match=r"split file must be readable, got no such file .*val_fr"):
        Kitti360(tmp_path, "val")


def test_kitti360__unknown_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="split must be one of train, val, got 'test'"):
        Kitti360(tmp_path, "test")


def test_kitti360__missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be a KITTI-360 folder, got no such folder .*gone"):
        Kitti360(tmp_path / "gone")


def test_read_labels__unknown_class(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\(semantic map\) .* got 45, 255 \(.*semantic/0000000250"):
        tree_of(tmp_path, [[7000, 7000]], [[45, 255]]).read_labels(0)
    with pytest.raises(UserError, match=r"\(instance map / 1000\) .* got 45, 65 \(.*instance/0000"):
        tree_of(tmp_path, [[45001, 65535]], [[7, 7]]).read_labels(0)


def test_read_labels__eight_bit_instance_map(tmp_path: Path) -> None:
    dataset = tree_of(tmp_path, [[26001]])
    cv2.imwrite(str(label_file(tmp_path, "instance")), np.zeros((1, 1), np.uint8))
    message = r"PNG of 16-bit gray, got 8-bit gray \(.*instance/0000000250.png\).*lost the instance"
    with pytest.raises(UserError, match=message):
        dataset.read_labels(0)


def test_read_labels__coloured_semantic_map(tmp_path: Path) -> None:
    dataset = tree_of(tmp_path, [[26001]])
    cv2.imwrite(str(label_file(tmp_path, "semantic")), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(UserError, match=r"got 8-bit RGB \(.*semantic/0000000250.png\)"):
        dataset.read_labels(0)


def test_read_labels__maps_of_two_sizes(tmp_path: Path) -> None:
    dataset = tree_of(tmp_path, [[26001, 7000]])
    cv2.imwrite(str(label_file(tmp_path, "instance")), np.zeros((2, 2), np.uint16))
    with pytest.raises(UserError, match=r"size \(1, 2\), got \(2, 2\) \(.*instance/0000000250.png"):
        dataset.read_labels(0)
