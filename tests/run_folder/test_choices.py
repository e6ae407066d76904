from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from uda4inst.errors import UserError
from uda4inst.run_folder.choices import ChoiceLine, choose, parse_choice, read_choice, write_choice
from uda4inst.run_folder.layout import RunDir

LINE = ChoiceLine(
    step=5,
    network="teacher",
    threshold=0.5,
    pseudo_labels=2.0,
    agreement=None,
    agreement_f1=None,
    stability=None,
    stability_f1=None,
    ap=None,
)


def record(**changes: Any) -> dict[str, Any]:
    """Return what the command writes of one checkpoint at one threshold."""
    entry = {
        "threshold": 0.5,
        "pseudo_labels": 2.0,
        "agreement": {"quality": 0.25, "f1": 0.5},
        "stability": None,
    }
    checkpoint = {
        "step": 5,
        "network": "teacher",
        "before": None,
        "diagnostic": {
            "protocol": "cityscapes",
            "images": 16,
            "images_there": 100,
            "AP": {"student": 0.1, "teacher": 0.2},
        },
        "thresholds": [entry],
    }
    return {
        "by": "agreement",
        "chosen": {"step": 5, "threshold": 0.5},
        "images": 4,
        "checkpoints": [checkpoint],
    } | changes


@pytest.mark.parametrize(
    ("lines", "by", "expected"),
    [
        pytest.param([LINE], "stability", None, id="nothing to compare"),
        pytest.param(
            [replace(LINE, stability=0.4), replace(LINE, step=9, stability=0.6)],
            "stability",
            (9, 0.5),
            id="without a teacher",
        ),
        pytest.param(
            [replace(LINE, agreement=0.4), replace(LINE, step=9, agreement=0.3, stability=0.6)],
            "agreement",
            (5, 0.5),
            id="stability has no say beside agreement",
        ),
        pytest.param(
            [replace(LINE, agreement=0.4), replace(LINE, agreement=0.4, threshold=0.7)],
            "agreement",
            (5, 0.5),
            id="of equals the lowest threshold",
        ),
        pytest.param(
            [replace(LINE, agreement=0.4), replace(LINE, step=9, agreement=0.4, threshold=0.7)],
            "agreement",
            (9, 0.7),
            id="of equals the newest checkpoint",
        ),
        pytest.param(
            [replace(LINE, agreement=0.4, ap=0.1), replace(LINE, step=9, agreement=0.3, ap=0.9)],
            "agreement",
            (5, 0.5),
            id="true AP has no say",
        ),
        pytest.param([replace(LINE, agreement=0.0)], "agreement", (5, 0.5), id="none is a number"),
    ],
)
def test_choose__highest_quality(
    lines: list[ChoiceLine], by: str, expected: tuple[int, float] | None
) -> None:
    found_by, best = choose(lines)
    assert found_by == by
    assert (best and (best.step, best.threshold)) == expected


JUDGED = "Cityscapes protocol, teacher, step 5, 16 of 100 images"


def test_read_choice__as_written(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert read_choice(run) is None
    write_choice(run, record())
    found = read_choice(run)
    assert found == parse_choice(record())
    assert found is not None
    assert found.lines == (replace(LINE, agreement=0.25, agreement_f1=0.5, ap=0.2, judged=JUDGED),)
    assert (found.by, found.chosen, found.images, found.last_step) == ("agreement", (5, 0.5), 4, 5)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="half a file"),
        pytest.param("[]", id="another value"),
        pytest.param('{"checkpoints": [], "by": "agreement"}', id="fields missing"),
        pytest.param(
            '{"checkpoints": [], "by": "agreement", "chosen": null, "images": 1}', id="nothing"
        ),
        pytest.param(
            '{"checkpoints": [{"step": 1, "network": "teacher", "diagnostic": 3, "thresholds": '
            '[{"threshold": 0.5, "pseudo_labels": 1, "agreement": 1, "stability": 1}]}], '
            '"by": "agreement", "chosen": null, "images": 1}',
            id="other types",
        ),
    ],
)
def test_read_choice__damaged_file_is_one_message(tmp_path: Path, text: str) -> None:
    run = RunDir(tmp_path)
    run.choice.write_text(text)
    with pytest.raises(UserError, match=r"choice\S* must be .*choice\.json"):
        read_choice(run)
