"""The data configuration: types, ranges, and its agreement with the data sets there are."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from uda4inst.data.config import DataConfig, FormatName
from uda4inst.data.readers import DATASETS

REF = {"format": "urbansyn", "root": "data/u"}
TREES: dict[str, Any] = {"source": REF, "target": REF, "val": REF}


def test_format_name__lists_the_data_sets() -> None:
    assert set(get_args(FormatName)) == set(DATASETS)


def test_data_config__defaults_are_the_authors() -> None:
    config = DataConfig.model_validate(TREES)
    assert config.crop == (1024, 1024)
    assert (config.short_sides[0], config.short_sides[-1], config.long_side_max) == (
        1024,
        2048,
        2048,
    )
    assert config.target.ego_vehicle == "auto"


def test_data_config__every_field_is_described() -> None:
    schema = DataConfig.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    silent = [
        name
        for model in models
        for name, field in model["properties"].items()
        if "description" not in field
    ]
    assert silent == []


def test_data_config__survives_yaml_and_back() -> None:
    config = DataConfig.model_validate(TREES | {"crop": [128, 256]})
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"crops": [1, 2]}, "crops"),
        ({"crop": [8, 64]}, "crop.0"),
        ({"crop": [64]}, "crop"),
        ({"short_sides": []}, "short_sides"),
        ({"workers": -1}, "workers"),
        ({"pairing": "fixed"}, "pairing"),
        ({"source": {**REF, "format": "gta"}}, "source.format"),
        ({"source": {**REF, "ego_vehicle": "none"}}, "source.ego_vehicle"),
        ({"val": {**REF, "root": ""}}, "val.root"),
    ],
)
def test_data_config__refuses(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig.model_validate(TREES | changes)
    assert ".".join(str(part) for part in caught.value.errors()[0]["loc"]).startswith(field)
