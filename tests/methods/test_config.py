from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from uda4inst.methods import METHODS, default_config, stage1_config
from uda4inst.methods.uda4inst import UDA4InstConfig
from uda4inst.training.config import load_config
from uda4inst.training.schema import Config
from uda4inst.uda.rare_class_balance import PoolConfig


def fields_without_description(schema: dict[str, Any]) -> list[str]:
    parts = [schema, *schema.get("$defs", {}).values()]
    return [
        f"{part['title']}.{name}"
        for part in parts
        for name, field in part["properties"].items()
        if "description" not in field
    ]


@pytest.mark.parametrize("name", METHODS)
def test_methods__are_told_apart_by_their_name(name: str) -> None:
    config = run_config(3, name=name).method
    assert type(config) is METHODS[name].config
    assert config.name == name


def test_default_method__is_the_papers() -> None:
    assert run_config(3, score_threshold=0.8).method == UDA4InstConfig(score_threshold=0.8)
    assert default_config() == UDA4InstConfig()


@pytest.mark.parametrize("name", [n for n, spec in METHODS.items() if spec.stage1])
def test_stage1_config__takes_over_what_both_have(name: str) -> None:
    config = METHODS[name].config.model_validate({"groups": "one", "classes": ["car"]})
    before = stage1_config(config)
    assert (before.name, before.groups, before.classes) == (METHODS[name].stage1, "one", ("car",))
    assert stage1_config(before) == before


def test_settings_of_other_methods__are_left_out() -> None:
    bound = run_config(3, name="source_only", score_threshold=0.8, mixing={"s2t": False}).method
    assert set(bound.model_dump()) == {"name", "groups", "classes", "own_classes", "lab_alignment"}


def test_settings_of_no_method__are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        run_config(3, name="source_only", tau=0.9)


def test_unknown_method__lists_the_known() -> None:
    with pytest.raises(ValidationError) as caught:
        run_config(3, name="no_method")
    assert all(repr(name) in str(caught.value) for name in METHODS)


def test_method_config__defaults_are_the_papers() -> None:
    assert UDA4InstConfig().model_dump(mode="json") == {
        "name": "uda4inst",
        "ema_decay": 0.999,
        "score_threshold": 0.9,
        "adaptive_threshold": {"enabled": False, "momentum": 0.99, "floor": 0.5},
        "unsure_threshold": None,
        "min_visible_share": 0.0,
        "soft_weights": False,
        "confidence": {"mask_scaling": None, "point_filter": None},
        "rare_weight": 1.0,
        "lab_alignment": True,
        "joint_forward": True,
        "groups": "two",
        "classes": [],
        "own_classes": [],
        "mixing": {
            "s2t": True,
            "t2s": True,
            "s2t_weight": 0.4,
            "t2s_weight": 0.6,
            "min_area": 0,
            "patch_max_area": 0,
            "blur": False,
            "batch": "pairs",
        },
        "pool": {
            "enabled": True,
            "size": 10,
            "draw_share": 0.5,
            "area_budget": None,
            "rare_classes": ["train", "motorcycle"],
            "draw_by_rarity": False,
            "riders": "left",
            "draw_chance": 1.0,
            "fade": False,
            "max_overlap": 1.0,
            "colours": "stored",
            "pseudo_labels": True,
        },
        "ego": {"min_valid_share": 0.2},
    }


def test_method_config__survives_a_round_trip() -> None:
    config = UDA4InstConfig(score_threshold=0.8, pool=PoolConfig(rare_classes=("bus",)))
    assert UDA4InstConfig.model_validate(config.model_dump(mode="json")) == config


def test_method_config__describes_every_field() -> None:
    assert fields_without_description(UDA4InstConfig.model_json_schema()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tau": 0.9}, "Extra inputs are not permitted"),
        ({"mixing": {"s2s": True}}, "Extra inputs are not permitted"),
        ({"score_threshold": 1.5}, "less than or equal to 1"),
        ({"ema_decay": float("nan")}, "finite number"),
        ({"mixing": {"min_area": 0.5}}, "valid integer"),
        ({"pool": {"size": 0}}, "greater than or equal to 1"),
        ({"pool": {"draw_share": 0}}, "greater than 0"),
        ({"pool": {"area_budget": 0}}, "greater than 0"),
        ({"pool": {"area_budget": 1.1}}, "less than or equal to 1"),
        ({"pool": {"rare_classes": ["tram"]}}, "Did you mean train"),
        ({"mixing": {"patch_max_area": -1}}, "greater than or equal to 0"),
        ({"mixing": {"batch": "halves"}}, "'pairs' or 'thirds'"),
        (
            {"mixing": {"batch": "thirds", "t2s": False}},
            r"method\.mixing\.batch must be pairs unless both directions are on, got thirds "
            r"without t2s\. Set method\.mixing\.batch=pairs",
        ),
        (
            {"unsure_threshold": 0.9},
            r"method\.unsure_threshold must be below method\.score_threshold \(0\.9\), got 0\.9",
        ),
        (
            {"score_threshold": 0.4, "adaptive_threshold": {"enabled": True}},
            r"method\.adaptive_threshold\.floor must be at most method\.score_threshold \(0\.4\)",
        ),
        (
            {"pool": {"colours": "realigned"}, "lab_alignment": False},
            r"method\.pool\.colours must be stored unless method\.lab_alignment is on",
        ),
        ({"adaptive_threshold": {"momentum": 1}}, "less than 1"),
        ({"min_visible_share": 2}, "less than or equal to 1"),
        ({"confidence": {"mask_scaling": 1}}, "less than 1"),
        ({"confidence": {"mask_scaling": -0.1}}, "greater than or equal to 0"),
        ({"confidence": {"point_filter": 0}}, "greater than 0"),
        ({"confidence": {"point_filter": 1.1}}, "less than or equal to 1"),
        ({"confidence": {"threshold": 0.9}}, "Extra inputs are not permitted"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_method_config__rejects(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UDA4InstConfig.model_validate(values)


def test_adaptive_floor__may_be_anything_while_off() -> None:
    assert UDA4InstConfig(score_threshold=0.4).adaptive_threshold.floor == 0.5


def run_config(batch_size: int, **method: Any) -> Config:
    tree = {"format": "cityscapes", "root": "somewhere"}
    data = {"source": {**tree, "format": "urbansyn"}, "target": tree}
    training = {"batch_size": batch_size}
    name = method.get("name", "uda4inst")
    instances = name not in METHODS or "instances" in METHODS[name].tasks
    model = {"preset": "tiny" if instances else "mit_tiny"}
    values = {"data": data, "method": method, "training": training, "model": model}
    return Config.model_validate(values)


def test_thirds__need_a_batch_of_threes() -> None:
    with pytest.raises(
        ValidationError,
        match=r"training\.batch_size must be a multiple of three with "
        r"method\.mixing\.batch=thirds, got 4\. Set it to 6, or method\.mixing\.batch=pairs",
    ):
        run_config(4, mixing={"batch": "thirds"})


@pytest.mark.parametrize(
    ("batch_size", "method"),
    [
        (3, {"mixing": {"batch": "thirds"}}),
        (6, {"mixing": {"batch": "thirds"}}),
        (4, {"mixing": {"batch": "pairs"}}),
        (4, {"mixing": {"batch": "thirds"}, "name": "source_only"}),
    ],
    ids=["three", "six", "pairs", "a-bound"],
)
def test_thirds__leave_other_runs_alone(batch_size: int, method: dict[str, Any]) -> None:
    assert run_config(batch_size, **method).training.batch_size == batch_size


def test_later_preset__is_the_later_recipe() -> None:
    method = load_config("urbansyn_cityscapes_later").method
    assert isinstance(method, UDA4InstConfig)
    mixing = method.mixing
    assert (mixing.min_area, mixing.patch_max_area) == (300, 1500)
    assert (mixing.blur, mixing.batch) == (True, "thirds")


def test_rare_labels__are_thing_indices() -> None:
    assert PoolConfig(rare_classes=("bus", "motorcycle")).rare_labels() == {4, 6}


def test_parts__do_not_change() -> None:
    config: BaseModel = UDA4InstConfig()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, "ema_decay", 0.5)  # noqa: B010
