"""What every part of a configuration is: unknown keys are errors, values never change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from uda4inst.classes import THING_NAMES

_MOST: Final = 2**63  # no count of anything is larger


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticKnownError("int_type")
    if isinstance(value, int) and abs(value) >= _MOST:
        raise PydanticCustomError("size", "Input should be less than 2**63")
    return value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticKnownError("float_type")
    return value


def _switch(value: object) -> object:
    if not isinstance(value, bool):
        raise PydanticKnownError("bool_type")
    return value


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value):
        raise PydanticCustomError("text", "Input should be text without NUL or half characters")
    return value


_CHECKS: Final[dict[str, Callable[[object], object]]] = {
    "int": _whole,
    "float": _number,
    "bool": _switch,
    "str": _text,
}
# Where schemas lie in schemas.
_INNER: Final = ("schema", "items_schema", "choices", "keys_schema", "values_schema")


def _exact(schema: Any) -> Any:
    """Return a schema in which numbers, switches and texts are no other kind's."""
    if isinstance(schema, list | tuple):
        return type(schema)(_exact(part) for part in schema)
    kind = schema.get("type") if isinstance(schema, dict) else "model"
    if kind == "model":  # another group, which has been through here
        return schema
    if kind in _CHECKS:
        return core_schema.no_info_before_validator_function(_CHECKS[kind], cast(Any, schema))
    inner = {key: _exact(schema[key]) for key in _INNER if key in schema}
    if kind == "model-fields":
        inner["fields"] = {name: _exact(field) for name, field in schema["fields"].items()}
    return {**schema, **inner}


# One of the eight, or of a run's own: which there are, the method's settings say together.
ClassName = Annotated[str, WithJsonSchema({"type": "string", "examples": list(THING_NAMES)})]


class Settings(BaseModel):
    """A group of settings; each field carries a description and its range, for the app's form.

    No value is taken for one of another kind: true is no number, "3" none either, and 1 is no
    switch. Whole numbers may be written as floats (1e4).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler, /
    ) -> CoreSchema:
        """Return the schema of the fields, each exact about kinds."""
        schema = handler(source)
        group: Any = handler.resolve_ref_schema(schema)
        while group["type"] != "model":  # checks around it
            group = group["schema"]
        group["schema"] = _exact(group["schema"])
        return schema
