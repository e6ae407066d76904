"""A session of data holds what lies on the disk: built once, mended, rebuilt when data change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import inspection
import numpy as np
import pytest
from PIL import Image

inspection.require_database()

from uda4inst.classes import THING_NAMES
from uda4inst.data.readers import Cityscapes, UrbanSyn
from uda4inst.errors import UserError
from uda4inst.structures import InstanceMap, SemanticMap
from workbench.sessions import building, convert, data_session, reading, samples
from workbench.sessions.data_session import open_data_session
from workbench.sessions.installed import ASKED
from workbench.sessions.library import fo
from workbench.sessions.request import open_sides, request_tree

pytestmark = pytest.mark.inspection


@pytest.fixture
def tree(toy: Path, tmp_path: Path) -> Path:
    """A source tree that a test may change, in a folder with spaces and letters of its own."""
    return Path(shutil.copytree(toy / "urbansyn", tmp_path / "моя 街 data"))


@pytest.fixture(scope="module")
def source(toy: Path) -> fo.Dataset:
    """The session of the source, left as it is."""
    return open_data_session(request_tree("urbansyn", toy / "urbansyn")).dataset


def as_instances(sample: fo.Sample) -> InstanceMap:
    size = (sample.metadata.height, sample.metadata.width)
    return convert.from_objects(sample.ground_truth, sample.ignored, size)


def test_open__every_label_is_the_one_on_the_disk(source: fo.Dataset, toy: Path) -> None:
    truth = UrbanSyn(toy / "urbansyn")
    for index, sample in enumerate(source.iter_samples()):
        labels = truth.read_labels(index)
        found = as_instances(sample)
        assert sample.image_name == truth.records[index].sample_id
        assert Path(sample.filepath) == truth.records[index].image
        assert np.array_equal(found.ids.numpy(), labels.ids)
        assert found.labels.tolist() == labels.labels.tolist()
        semantic = convert.from_segmentation(sample.semantic)
        assert isinstance(semantic, SemanticMap)
        assert np.array_equal(semantic.ids.numpy(), labels.semantic)


def test_open__facts_of_objects_are_the_readers(source: fo.Dataset, toy: Path) -> None:
    truth = UrbanSyn(toy / "urbansyn")
    for index, sample in enumerate(source.iter_samples()):
        labels, facts = truth.read_objects(index)
        rows = sample.ground_truth.detections
        assert [row.area for row in rows] == labels.areas().tolist()
        known = [None if np.isnan(share) else float(share) for share in facts.occlusion]
        assert [row.get_attribute_value("occlusion", None) for row in rows] == known
        counts = np.bincount(labels.labels, minlength=len(THING_NAMES)).tolist()
        assert [sample.counts[name] for name in THING_NAMES] == counts
        assert sample.objects == len(rows)


def test_open__says_where_images_come_from(source: fo.Dataset) -> None:
    assert source.distinct("domain") == ["source"]
    assert source.distinct("split") == ["train"]
    assert source.distinct("labels") == ["ground truth"]
    assert source.persistent


def test_open__views_show_what_they_are_called(source: fo.Dataset) -> None:
    assert source.list_saved_views()[:3] == [
        "source",
        "rare-class images",
        "images without objects",
    ]
    cars = source.load_saved_view("class car")
    assert set(cars.distinct("ground_truth.detections.label")) == {"car"}
    assert cars.count("ground_truth.detections") == source.sum("counts.car")
    assert len(source.load_saved_view("images without objects")) == 0


def test_open__an_image_asked_for_is_added_to_those_that_are_there(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = request_tree("urbansyn", tree, limit=3)  # rgb_0001, rgb_0005 and rgb_0008
    first = open_data_session(replace(few, also=("rgb_0002",)))
    assert first.dataset.values("image_name") == ["rgb_0001", "rgb_0002", "rgb_0005", "rgb_0008"]
    maps = {path: Path(path).read_bytes() for path in first.dataset.values("semantic.mask_path")}

    read: list[int] = []
    reading_of = reading.Reading.__call__

    def noted(self: reading.Reading, number: int) -> reading.ReadImage:
        read.append(self.chosen[number])
        return reading_of(self, number)

    monkeypatch.setattr(reading.Reading, "__call__", noted)
    second = open_data_session(replace(few, also=("rgb_0004",)))
    assert read == [3]
    assert second.dataset.name == first.dataset.name
    assert not second.summary["built"]
    assert sorted(second.dataset.values("image_name"))[1:3] == ["rgb_0002", "rgb_0004"]
    assert second.dataset.load_saved_view(ASKED).values("image_name") == ["rgb_0004"]
    assert {path: Path(path).read_bytes() for path in maps} == maps
    labels = UrbanSyn(tree).read_labels(3)
    added = second.dataset.one(fo.ViewField("image_name") == "rgb_0004")
    assert np.array_equal(as_instances(added).ids.numpy(), labels.ids)

    again = open_data_session(replace(few, also=("rgb_0002", "rgb_0008")))
    assert (read, again.summary["images"]) == ([3], 5)
    asked = again.dataset.load_saved_view(ASKED).values("image_name")
    assert sorted(asked) == ["rgb_0002", "rgb_0008"]
    assert open_data_session(few).summary["images"] == 3  # predictions are judged on these


def test_open__an_image_asked_for_is_noticed_when_it_changes(tree: Path) -> None:
    request = replace(request_tree("urbansyn", tree, limit=2), also=("rgb_0003",))
    open_data_session(request)
    picture = tree / "rgb" / "rgb_0003.png"
    picture.write_bytes(picture.read_bytes() + b"\0")
    again = open_data_session(replace(request, also=("rgb_0006",)))
    assert again.summary["built"]
    assert again.dataset.values("image_name") == ["rgb_0001", "rgb_0003", "rgb_0006", "rgb_0008"]
    for kind in ("rgb", "ss", "panoptic"):
        (tree / kind / f"{kind}_0003.png").unlink()
    less = open_data_session(replace(request, also=("rgb_0006",)))
    assert less.dataset.values("image_name") == ["rgb_0001", "rgb_0006", "rgb_0008"]


def test_open__an_image_asked_for_that_is_damaged_leaves_the_others(tree: Path) -> None:
    request = replace(request_tree("urbansyn", tree, limit=2), also=("rgb_0003",))
    open_data_session(request)
    palette(tree / "rgb" / "rgb_0006.png")
    with pytest.raises(UserError, match="rgb_0006"):
        open_data_session(replace(request, also=("rgb_0006",)))
    again = open_data_session(request)
    assert (again.summary["built"], again.summary["images"]) == (False, 3)


def test_open__an_addition_that_was_killed_is_not_made_twice(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(request_tree("urbansyn", tree, limit=2), also=("rgb_0003",))
    open_data_session(request)
    other = replace(request, also=("rgb_0006",))
    with monkeypatch.context() as patch:
        patch.setattr(data_session, "save_data_views", interrupt)  # it is added by then
        with pytest.raises(KeyboardInterrupt):
            open_data_session(other)
    mended = open_data_session(other).dataset
    assert sorted(mended.values("image_name")) == ["rgb_0001", "rgb_0003", "rgb_0006", "rgb_0008"]


def test_open__again_reads_nothing(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_tree("urbansyn", toy / "urbansyn")
    first = open_data_session(request)
    before = first.dataset.values("id")
    monkeypatch.setattr(data_session, "in_order", None)
    again = open_data_session(request)
    assert not again.summary["built"]
    assert again.dataset.values("id") == before
    assert {**again.summary, "built": True} == {**first.summary, "built": True}


def test_open__fresh_builds_again(tree: Path) -> None:
    request = request_tree("urbansyn", tree)
    before = open_data_session(request).dataset.values("id")
    again = open_data_session(request, fresh=True)
    assert again.summary["built"]
    assert len(again.dataset) == len(before)
    assert set(again.dataset.values("id")).isdisjoint(before)


def test_open__changed_data_are_built_again_and_tags_stay(tree: Path) -> None:
    request = request_tree("urbansyn", tree)
    dataset = open_data_session(request).dataset
    dataset.match(fo.ViewField("image_name") == "rgb_0003").tag_samples("look at this")
    dataset.save_view("my own", dataset.limit(1))
    for kind in ("rgb", "ss", "panoptic"):
        (tree / kind / f"{kind}_0001.png").unlink()
    again = open_data_session(request)
    assert again.summary["built"]
    assert again.summary["images"] == 7
    tagged = again.dataset.match_tags("look at this")
    assert tagged.values("image_name") == ["rgb_0003"]
    assert "my own" in again.dataset.list_saved_views()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_open__half_of_one_is_mended(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_tree("urbansyn", tree)
    dataset = open_data_session(request).dataset
    dataset.match(fo.ViewField("image_name") == "rgb_0005").tag_samples("kept")
    with monkeypatch.context() as patch:
        patch.setattr(samples, "to_sample", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_data_session(request, fresh=True)
    assert len(fo.load_dataset(request.name())) == 0
    mended = open_data_session(request)
    assert mended.summary["built"]
    assert mended.summary["images"] == 8
    assert mended.dataset.match_tags("kept").values("image_name") == ["rgb_0005"]


def test_open__a_data_set_of_the_name_that_is_not_ours_is_refused(tree: Path) -> None:
    request = request_tree("urbansyn", tree)
    other = fo.Dataset(request.name())
    other.add_sample(fo.Sample("somebodys.png"))
    with pytest.raises(UserError, match="must be one of this project"):
        open_data_session(request, fresh=True)
    assert other.values("filepath")[0].endswith("somebodys.png")
    assert other.get_field_schema().keys() == fo.Dataset().get_field_schema().keys()


def test_open__one_builder_at_a_time(tree: Path) -> None:
    request = request_tree("urbansyn", tree)
    with (
        building.sole_builder(request.name()),
        pytest.raises(UserError, match="must be built by one process"),
    ):
        open_data_session(request)


def test_open__labels_of_a_training_target_stay_closed(toy: Path) -> None:
    dataset = open_data_session(request_tree("cityscapes", toy / "cityscapes")).dataset
    assert dataset.distinct("labels") == ["none"]
    assert dataset.count("ground_truth.detections") == 0
    assert dataset.values("semantic") == [None] * 8
    assert len(dataset.load_saved_view("images without objects")) == 0


def test_open__labels_of_a_training_target_are_diagnostics(toy: Path) -> None:
    root = toy / "cityscapes"
    dataset = open_data_session(request_tree("cityscapes", root, target_labels=True)).dataset
    assert dataset.distinct("labels") == ["diagnostics"]
    assert "diagnostics" in dataset.description
    assert dataset.info["uda4inst"]["domains"]["target"]["labels"] == "diagnostics"
    expected = sum(len(Cityscapes(root).read_labels(i).labels) for i in range(8))
    assert dataset.count("ground_truth.detections") == expected


def test_open__images_without_labels(toy: Path) -> None:
    folder = toy / "cityscapes" / "leftImg8bit" / "val"
    city = next(folder.iterdir())
    session = open_data_session(request_tree("images", city, limit=1))
    assert session.summary["images"] == 1
    assert session.summary["domains"]["target"]["images_in_all"] == 2


def test_open__masks_too_large_for_the_database_are_files(
    tree: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_IN_DATABASE", 200)
    request = request_tree("urbansyn", tree, limit=2)
    dataset = open_data_session(request).dataset
    first = dataset.first()
    in_files = [row.mask_path is not None for row in first.ground_truth.detections]
    assert True in in_files
    assert False in in_files
    labels = UrbanSyn(toy / "urbansyn").read_labels(0)
    assert np.array_equal(as_instances(first).ids.numpy(), labels.ids)


def gray16(path: Path) -> None:
    Image.fromarray(np.full((64, 128), 40_000, np.uint16)).save(path)


def palette(path: Path) -> None:
    Image.new("P", (128, 64)).save(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(gray16, "16-bit", id="16-bit"),
        pytest.param(palette, "palette", id="palette"),
        pytest.param(Path.unlink, "", id="gone"),
    ],
)
def test_open__a_picture_that_cannot_be_read_is_one_message(
    tree: Path, spoil: Callable[[Path], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_tree("urbansyn", tree)
    tagged = open_data_session(request).dataset
    tagged.match(fo.ViewField("image_name") == "rgb_0002").tag_samples("kept")
    picture = tree / "rgb" / "rgb_0005.png"
    whole = picture.read_bytes()
    listed = open_sides(request)  # it is spoiled after the files were listed
    spoil(picture)
    monkeypatch.setattr(data_session, "open_sides", lambda request: listed)
    with pytest.raises(UserError, match="rgb_0005") as told:
        open_data_session(request, fresh=True)
    assert words in str(told.value)
    monkeypatch.undo()
    picture.write_bytes(whole)
    mended = open_data_session(request)
    assert mended.summary["images"] == 8
    assert mended.dataset.match_tags("kept").values("image_name") == ["rgb_0002"]


def test_open__a_database_that_takes_no_more_is_one_message(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_tree("urbansyn", tree)
    full = OSError("No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(fo.Dataset, "add_samples", lambda *_, **__: raise_it(full))
        with pytest.raises(UserError, match="must take all images, got No space left on device"):
            open_data_session(request)
    assert open_data_session(request).summary["images"] == 8


def raise_it(error: Exception) -> None:
    raise error
