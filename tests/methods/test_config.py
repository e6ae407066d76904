from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from uda4inst.classes import THING_NAMES
from uda4inst.methods import METHODS
from uda4inst.methods.config import MethodConfig, MethodName, PoolConfig, ThingName


def fields_without_description(schema: dict[str, Any]) -> list[str]:
    parts = [schema, *schema.get("$defs", {}).values()]
    return [
        f"{part['title']}.{name}"
        for part in parts
        for name, field in part["properties"].items()
        if "description" not in field
    ]


def test_method_name__lists_the_methods() -> None:
    assert set(get_args(MethodName)) == set(METHODS)


def test_thing_name__lists_the_classes() -> None:
    assert get_args(ThingName) == THING_NAMES


def test_method_config__defaults_are_the_papers() -> None:
    assert MethodConfig().model_dump(mode="json") == {
        "name": "uda4inst",
        "ema_decay": 0.999,
        "score_threshold": 0.9,
        "lab_alignment": True,
        "joint_forward": True,
        "groups": "two",
        "classes": [],
        "mixing": {"s2t": True, "t2s": True, "s2t_weight": 0.4, "t2s_weight": 0.6, "min_area": 0},
        "pool": {
            "enabled": True,
            "size": 10,
            "draw_share": 0.5,
            "rare_classes": ["train", "motorcycle"],
        },
        "ego": {"min_valid_share": 0.2},
    }


def test_method_config__survives_a_round_trip() -> None:
    config = MethodConfig(score_threshold=0.8, pool=PoolConfig(rare_classes=("bus",)))
    assert MethodConfig.model_validate(config.model_dump(mode="json")) == config


def test_method_config__describes_every_field() -> None:
    assert fields_without_description(MethodConfig.model_json_schema()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "dacs"}, "'source_only', 'oracle' or 'uda4inst'"),
        ({"tau": 0.9}, "Extra inputs are not permitted"),
        ({"mixing": {"s2s": True}}, "Extra inputs are not permitted"),
        ({"score_threshold": 1.5}, "less than or equal to 1"),
        ({"ema_decay": float("nan")}, "finite number"),
        ({"mixing": {"min_area": 0.5}}, "valid integer"),
        ({"pool": {"size": 0}}, "greater than or equal to 1"),
        ({"pool": {"draw_share": 0}}, "greater than 0"),
        ({"pool": {"rare_classes": ["tram"]}}, "'train'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_method_config__rejects(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MethodConfig.model_validate(values)


def test_rare_labels__are_thing_indices() -> None:
    assert PoolConfig(rare_classes=("bus", "motorcycle")).rare_labels == {4, 6}


def test_parts__do_not_change() -> None:
    config: BaseModel = MethodConfig()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, "ema_decay", 0.5)  # noqa: B010
