from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import gradio as gr
import pytest
from pydantic import BaseModel, Field

from workbench.pages.train.run_form import UNSEEN, RunForm, build_form
from workbench.ui.forms import FieldSpec, field_specs, form_values
from workbench.ui.views import Updates


class Run(BaseModel):
    name: str = "demo"


class Many(BaseModel):
    name: Literal["many"] = "many"
    groups: str = "two"
    flip: bool = True
    rate: float = 0.5


class Few(BaseModel):
    name: Literal["few"] = "few"
    groups: str = "two"


class Model(BaseModel):
    run: Run = Field(default_factory=lambda: Run())
    method: Annotated[Many | Few, Field(discriminator="name")] = Field(
        default_factory=lambda: Many()
    )
    seed: int = 0


FIELDS = field_specs(Model.model_json_schema())
MANY = Model().model_dump(mode="json")
FEW = Model(method=Few()).model_dump(mode="json")


def make(
    in_loop: Callable[[Callable[[], object]], object],
    config: dict[str, object],
    fields: list[FieldSpec] = FIELDS,
) -> RunForm:
    def build() -> RunForm:
        with gr.Blocks():
            return build_form(fields, config)

    form = in_loop(build)
    assert isinstance(form, RunForm)
    return form


@pytest.fixture
def form(in_loop: Callable[[Callable[[], object]], object]) -> RunForm:
    return make(in_loop, MANY)


def seen(form: RunForm, updates: Updates) -> dict[str, object]:
    """Return which of the controls and sections that may be hidden are seen."""
    named = {**form.controls, **form.sections}
    found = {name: updates.get(part) for name, part in named.items()}
    return {
        n: UNSEEN not in update["elem_classes"]
        for n, update in found.items()
        if isinstance(update, dict)
    }


@pytest.mark.parametrize(("config", "there"), [(MANY, True), (FEW, False)], ids=["many", "few"])
def test_build_form__settings_of_the_chosen_variant_are_seen(
    in_loop: Callable[[Callable[[], object]], object], config: dict[str, object], there: bool
) -> None:
    form = make(in_loop, config)
    assert form.controls["method.name"].value == ("many" if there else "few")
    for name in ("method.flip", "method.rate"):
        assert (UNSEEN not in form.controls[name].elem_classes) is there
    assert (UNSEEN not in form.sections["method"].elem_classes) is there
    for name in ("run.name", "method.name", "method.groups", "seed"):
        assert UNSEEN not in form.controls[name].elem_classes


def test_choosers__decide_what_is_seen(form: RunForm) -> None:
    assert list(form.choosers) == ["method.name"]
    values = form_values(FIELDS, MANY)
    everything = {"method.groups": True, "method.flip": True, "method.rate": True, "method": True}
    assert seen(form, form.arranged(values)) == everything
    nothing = dict.fromkeys(everything, False) | {"method.groups": True}
    assert seen(form, form.arranged(values | {"method.name": "few"})) == nothing


def test_arranged__leaves_what_was_typed(form: RunForm) -> None:
    updates = form.arranged(form_values(FIELDS, FEW))
    assert all("value" not in update for update in updates.values() if isinstance(update, dict))
    assert form.controls["run.name"] not in updates
    assert set(updates) <= set(form.outputs)


def test_filled__sets_values_and_what_is_seen(form: RunForm) -> None:
    updates = form.filled(form_values(FIELDS, FEW) | {"run.name": "new", "seed": 4})
    assert updates[form.controls["run.name"]] == "new"
    assert updates[form.controls["seed"]] == 4
    assert updates[form.controls["method.name"]] == "few"
    rate = updates[form.controls["method.rate"]]
    assert isinstance(rate, dict)
    assert (rate["value"], rate["elem_classes"]) == (0.5, [UNSEEN])
    assert set(updates) == {*form.inputs, form.sections["method"]}


def test_values__are_read_by_name(form: RunForm) -> None:
    read = [f"value of {field.name}" for field in FIELDS]
    assert form.values(read) == {field.name: f"value of {field.name}" for field in FIELDS}
    with pytest.raises(ValueError, match="zip"):
        form.values(read[:-1])


def test_build_form__without_variants_nothing_is_hidden(
    in_loop: Callable[[Callable[[], object]], object],
) -> None:
    class Plain(BaseModel):
        run: Run = Field(default_factory=lambda: Run())
        method: Many = Field(default_factory=lambda: Many())

    fields = field_specs(Plain.model_json_schema())
    config: dict[str, object] = Plain().model_dump(mode="json")
    form = make(in_loop, config, fields)
    assert form.choosers == {}
    assert form.arranged(form_values(fields, config)) == {}
    assert set(form.filled(form_values(fields, config))) == set(form.inputs)
