from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from uda4inst.errors import UserError
from uda4inst.evaluation.protocols import PROTOCOL_NAMES
from uda4inst.formats.class_map import read_class_map
from uda4inst.formats.image_list import read_image_list
from uda4inst.methods import DEFAULT_METHOD
from uda4inst.tasks import TASKS
from uda4inst.training import hashing, schema
from uda4inst.training.config import Config, config_hash, load_config, preset_names, to_yaml

MINIMAL = """
data:
  source: {format: urbansyn, root: s}
  target: {format: cityscapes, root: t}
  val: {format: cityscapes, root: t, split: val}
"""


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "minimal.yaml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize("name", ["toystreets_smoke", "toystreets_demo", "toystreets_full"])
def test_load_config__presets(name: str) -> None:
    config = load_config(name)
    assert config.run.name == name
    assert config.model.weights == "toystreets"
    assert config.data.source.root == "data/toystreets/urbansyn"


def test_preset_names__lists_the_package_files() -> None:
    assert {"toystreets_smoke", "toystreets_demo", "toystreets_full"} <= set(preset_names())


def test_load_config__defaults_are_the_paper(minimal: Path) -> None:
    config = load_config(minimal)
    assert (config.training.stage1_steps, config.training.stage2_steps) == (10_000, 20_000)
    assert config.training.batch_size == 3
    assert (config.optim.lr, config.optim.weight_decay) == (1e-4, 0.05)
    assert (config.optim.backbone_lr_factor, config.optim.clip_norm) == (0.1, 0.01)
    assert config.model.num_points == 12544


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seed=3", lambda c: c.seed == 3),
        ("run.root=/tmp/x", lambda c: c.run.root == "/tmp/x"),
        ("method.mixing.t2s=false", lambda c: c.method.mixing.t2s is False),
        ("optim.lr=1e-3", lambda c: c.optim.lr == 1e-3),
        ("data.crop=[64, 128]", lambda c: c.data.crop == (64, 128)),
        ("model.weights=null", lambda c: c.model.weights is None),
        ("method.pool.rare_classes=[bus]", lambda c: c.method.pool.rare_classes == ("bus",)),
        ("run.name=a.b-c_1", lambda c: c.run.name == "a.b-c_1"),
    ],
)
def test_load_config__overrides_have_yaml_values(minimal: Path, override: str, read: Any) -> None:
    assert read(load_config(minimal, [override]))


def test_load_config__the_last_override_counts(minimal: Path) -> None:
    assert load_config(minimal, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param(
            "method.score_treshold=0.8",
            r"method\.score_treshold must be a known setting.*override "
            r"'method.score_treshold=0.8'.*Did you mean method\.score_threshold\?",
            id="unknown-key",
        ),
        pytest.param(
            "trainig.stage1_steps=5",
            r"trainig must be a known setting.*Did you mean training\?",
            id="unknown-part",
        ),
        pytest.param(
            "score_threshold=0.8", r"Did you mean method\.score_threshold\?", id="wrong-place"
        ),
        pytest.param(
            "optim.zzz=1", r"Known here: lr, weight_decay", id="nothing-near-lists-the-known"
        ),
        pytest.param(
            "method.score_threshold=1.5",
            r"method\.score_threshold must be less than or equal to 1, got 1\.5",
            id="range",
        ),
        pytest.param(
            "training.batch_size=many",
            r"training\.batch_size must be a valid integer.*got 'many'",
            id="type",
        ),
        pytest.param(
            "method.name=uda5inst",
            rf"method\.name must be .*'{DEFAULT_METHOD}'.*, got 'uda5inst' \(.*\)\. "
            rf"Did you mean {DEFAULT_METHOD}\?",
            id="choice",
        ),
        pytest.param("data.crop=64", r"data\.crop must be a valid tuple, got 64", id="tuple"),
        pytest.param("optim.lr=.nan", r"optim\.lr must be a finite number", id="nan"),
        pytest.param("data.source=null", r"data\.source must be a valid", id="part-removed"),
        pytest.param(
            "run.name=a/b", r"run\.name must be letters, digits.*got 'a/b'", id="slash-in-name"
        ),
        pytest.param(
            "seed", r"override must be written key\.sub=value, got 'seed'", id="no-equals"
        ),
        pytest.param("a..b=1", r"override must be written key\.sub=value", id="empty-key"),
        pytest.param("seed=[1", r"override must have a YAML value, got 'seed=\[1'", id="bad-yaml"),
    ],
)
def test_load_config__bad_override(minimal: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config(minimal, [override])
    assert len(str(caught.value).splitlines()) == 1


def test_load_config__every_offender_is_named_once(minimal: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_config(minimal, ["seed=-1", "optim.lr=0", "zzz=1"])
    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "seed",
        "optim.lr",
        "zzz",
    ]


def test_load_config__offender_in_the_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(MINIMAL + "optim: {lr: fast}\n")
    with pytest.raises(UserError, match=rf"optim\.lr must be a valid number.*\({path}\)"):
        load_config(path)


def test_load_config__missing_part(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    with pytest.raises(UserError, match=r"data must be given"):
        load_config(path)


def test_load_config__no_steps_at_all(minimal: Path) -> None:
    with pytest.raises(UserError, match=r"stage1_steps \+ training\.stage2_steps must be at least"):
        load_config(minimal, ["training.stage1_steps=0", "training.stage2_steps=0"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [1", "configuration must be YAML", id="not-yaml"),
        pytest.param("- 1", "configuration must be a mapping of settings, got list", id="a-list"),
        pytest.param("!!python/object:os.system {}", "configuration must be YAML", id="code"),
    ],
)
def test_load_config__bad_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(path)


def test_load_config__unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"got 'toystreet_demo'\. Did you mean toystreets_demo\?"):
        load_config("toystreet_demo")


def test_to_yaml__is_enough_to_repeat_the_run(tmp_path: Path) -> None:
    config = load_config("toystreets_smoke", ["seed=7", "method.pool.rare_classes=[bus]"])
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_config(path) == config


@pytest.mark.parametrize(
    "override",
    [
        "run.name=b",
        "run.root=x",
        "data.workers=3",
        "training.checkpoint_every=7",
        "model.deformable_kernel=torch",
    ],
)
def test_config_hash__blind_to_what_changes_no_result(minimal: Path, override: str) -> None:
    assert config_hash(load_config(minimal, [override])) == config_hash(load_config(minimal))


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "method.score_threshold=0.8",
        "method.confidence.mask_scaling=0.9",
        "method.confidence.point_filter=0.8",
        "optim.lr=1e-3",
        "training.precision=bf16",
        "model.deformable_kernel=triton",
    ],
)
def test_config_hash__sees_what_changes_results(minimal: Path, override: str) -> None:
    assert config_hash(load_config(minimal, [override])) != config_hash(load_config(minimal))


@pytest.mark.parametrize(
    ("unused", "changed"),
    [
        pytest.param("method.name=source_only", "method.pool.size=3", id="source-only"),
        pytest.param("method.name=source_only", "method.score_threshold=0.8", id="no-teacher"),
        pytest.param("method.name=oracle", "method.mixing.min_area=9", id="oracle"),
        pytest.param("method.pool.enabled=false", "method.pool.area_budget=0.1", id="no-pool"),
        pytest.param("method.mixing.s2t=false", "method.pool.draw_share=0.1", id="t2s-alone"),
    ],
)
def test_config_hash__blind_to_what_is_not_used(minimal: Path, unused: str, changed: str) -> None:
    assert config_hash(load_config(minimal, [changed])) != config_hash(load_config(minimal))
    idle = config_hash(load_config(minimal, [unused]))
    assert config_hash(load_config(minimal, [unused, changed])) == idle
    assert config_hash(load_config(minimal, [unused, "seed=1"])) != idle


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("source_only", "method.lab_alignment=false"),
        ("source_only", "method.groups=one"),
        ("source_only", "model.num_points=99"),
        ("oracle", "method.groups=one"),
        ("oracle", "model.num_points=99"),
    ],
)
def test_config_hash__sees_what_a_bound_uses(minimal: Path, name: str, change: str) -> None:
    base = [f"method.name={name}"]
    changed = config_hash(load_config(minimal, [*base, change]))
    assert changed != config_hash(load_config(minimal, base))


def test_config_hash__of_the_oracle_is_blind_to_source_colours(minimal: Path) -> None:
    base = ["method.name=oracle"]
    changed = config_hash(load_config(minimal, [*base, "method.lab_alignment=false"]))
    assert changed == config_hash(load_config(minimal, base))


def test_schema__names_agree_with_their_owners() -> None:
    presets = [name for task in TASKS.values() for name in task.presets]
    protocols = [name for task in TASKS.values() for name in task.protocols]
    protocols += [name for task in TASKS.values() for name in task.further_protocols]
    assert sorted(get_args(schema.PresetName)) == sorted(presets)
    assert sorted(get_args(schema.ProtocolName)) == sorted(protocols)
    assert set(protocols) == set(PROTOCOL_NAMES)


def test_load_config__semantic_maps_are_judged_by_their_own_protocol(minimal: Path) -> None:
    semantic = ["model.preset=mit_tiny", "model.weights=null", "method.name=source_only"]
    assert load_config(minimal, semantic).evaluation.protocols == ("pixels",)
    with pytest.raises(UserError, match=r"protocols must be of pixels.*got cityscapes"):
        load_config(minimal, [*semantic, "evaluation.protocols=[cityscapes]"])


def test_load_config__instances_are_judged_by_pixels_on_request_alone(minimal: Path) -> None:
    assert "thing_pixels" not in load_config(minimal).evaluation.protocols
    asked = load_config(minimal, ["evaluation.protocols=[cityscapes,thing_pixels]"])
    assert asked.evaluation.protocols == ("cityscapes", "thing_pixels")
    with pytest.raises(UserError, match=r"of cityscapes, coco, thing_pixels, by which.*got pixels"):
        load_config(minimal, ["evaluation.protocols=[pixels]"])


def fields_of(model: type[BaseModel], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, field in model.model_fields.items():
        found.append((prefix + name, field))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += fields_of(field.annotation, f"{prefix}{name}.")
    return found


@pytest.mark.parametrize(
    ("name", "field"), [pytest.param(n, f, id=n) for n, f in fields_of(Config)]
)
def test_schema__every_field_is_described(name: str, field: Any) -> None:
    assert field.description, name


def test_schema__unhashed_settings_exist() -> None:
    known = {name for name, _ in fields_of(Config)}
    assert set(hashing.UNHASHED) <= known


def test_load_config__a_fault_of_several_settings_blames_those_that_were_given() -> None:
    wrong = ["method.name=uda4inst", "evaluation.limit=2"]
    with pytest.raises(UserError, match=r"method of semantic.*\(override 'method.name=uda4inst'\)"):
        load_config("toystreets_semantic_smoke", wrong)


def test_load_config__says_which_image_list_it_was_made_with(minimal: Path, tmp_path: Path) -> None:
    images = tmp_path / "hard.txt"
    images.write_text("a\nb\n")
    config = load_config(minimal, [f"data.source.only={images}"])
    assert config.data.source.only_hash == read_image_list(images).hash
    assert config.data.target.only_hash is None
    assert config_hash(config) != config_hash(load_config(minimal))
    moved = tmp_path / "moved.txt"
    images.rename(moved)
    again = load_config(minimal, [f"data.source.only={moved}"])
    assert config_hash(again) == config_hash(config)  # where the list lies is no matter
    kept = tmp_path / "config.yaml"
    kept.write_text(to_yaml(config))
    assert load_config(kept) == config  # also when the list is gone


def test_options__a_list_that_has_changed_is_refused(minimal: Path, tmp_path: Path) -> None:
    images = tmp_path / "hard.txt"
    images.write_text("a\n")
    config = load_config(minimal, [f"data.target.only={images}"])
    assert config.data.target.options().only == read_image_list(images)
    images.write_text("a\nb\n")
    with pytest.raises(UserError, match=r"must be the one the run was configured with"):
        config.data.target.options()


def test_load_config__image_list_that_is_not_there(minimal: Path) -> None:
    with pytest.raises(UserError, match=r"image list must be a readable text file.*no\.txt"):
        load_config(minimal, ["data.val.only=no.txt"])


def test_load_config__hash_without_a_list(minimal: Path) -> None:
    with pytest.raises(UserError, match="only must name the image list"):
        load_config(minimal, ["data.source.only_hash=abc"])


@pytest.mark.parametrize("text", ["7e18f737311b", "123456e78901", "123456789012", "1e-4", "0x1f"])
def test_to_yaml__text_that_looks_like_a_number_stays_text(
    minimal: Path, tmp_path: Path, text: str
) -> None:
    config = load_config(minimal, [f"data.source.root='{text}'"])
    path = tmp_path / "kept.yaml"
    path.write_text(to_yaml(config))
    assert load_config(path).data.source.root == text


def test_load_config__another_list_has_its_own_hash(minimal: Path, tmp_path: Path) -> None:
    one, other, kept = (tmp_path / name for name in ("one.txt", "other.txt", "kept.yaml"))
    one.write_text("a\n")
    other.write_text("b\n")
    kept.write_text(to_yaml(load_config(minimal, [f"data.source.only={one}"])))
    again = load_config(kept, [f"data.source.only={other}"])
    assert again.data.source.only_hash == read_image_list(other).hash
    assert load_config(kept, ["data.source.only=null"]).data.source.only_hash is None


def test_load_config__class_map_is_part_of_what_a_run_is(minimal: Path, tmp_path: Path) -> None:
    one, moved, kept = (tmp_path / name for name in ("one.yaml", "moved.yaml", "kept.yaml"))
    one.write_text("classes: {dog: , ox: truck}\n")
    config = load_config(minimal, [f"data.source.class_map={one}"])
    assert config.data.source.class_map_hash == read_class_map(one).hash
    assert config.data.source.options().class_map == read_class_map(one)
    assert config_hash(config) != config_hash(load_config(minimal))
    one.rename(moved)
    again = load_config(minimal, [f"data.source.class_map={moved}"])
    assert config_hash(again) == config_hash(config)  # where the map lies is no matter
    kept.write_text(to_yaml(config))
    assert load_config(kept) == config  # also when the map is gone
    moved.write_text("classes: {dog: car, ox: truck}\n")
    other = load_config(kept, [f"data.source.class_map={moved}"])
    assert config_hash(other) != config_hash(config)


def test_options__a_class_map_that_has_changed_is_refused(minimal: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("classes: {ox: truck}\n")
    config = load_config(minimal, [f"data.val.class_map={path}"])
    path.write_text("classes: {ox: bus}\n")
    with pytest.raises(UserError, match=r"class map must be the one the run was configured with"):
        config.data.val.options()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.source.class_map=no.yaml", "class map must be a readable YAML file"),
        ("data.source.class_map_hash=abc", "class_map must name the map"),
    ],
)
def test_load_config__class_map_that_is_not_there(minimal: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_config(minimal, [override])


def test_load_config__names_the_method_that_lacks_a_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{MINIMAL}\nmethod: {{ema_decay: 0.9}}\n")  # without its name
    load_config(path, ["method.edges=true"])
    assert caplog.messages == ["method.edges=true is no setting of method uda4inst: unused."]
