"""Measured speeds: what was appended comes back, and a bad line does not take the others along."""

from __future__ import annotations

from pathlib import Path

import pytest
from speed_records import record

from uda4inst.run_folder.speeds import append_speed, read_speeds


def test_append_speed__adds_a_line_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "speeds"
    written = [record(), record(run="demo", step=40, of="student", batch=4)]
    for one in written:
        append_speed(path, one)
    assert read_speeds(path).records == tuple(written)
    assert read_speeds(path).problem == ""
    assert len(path.read_text().splitlines()) == 2


def test_append_speed__after_a_line_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "speeds"
    path.write_text(record().model_dump_json())
    append_speed(path, record(batch=2))
    assert [one.batch for one in read_speeds(path).records] == [1, 2]


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff\xfe", b'{"network": "a"}', b""], ids=str)
def test_read_speeds__a_bad_line_is_one_message_and_the_rest_stays(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "speeds"
    good = record().model_dump_json().encode()
    path.write_bytes(b"\n".join([good, line, good]) + b"\n")
    found = read_speeds(path)
    assert found.records == (record(), record())
    assert "got others at 2 (" in found.problem
    assert str(path) in found.problem


def test_read_speeds__what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "speeds"
    path.write_text(record().model_dump_json().replace("{", '{"joules": 3,', 1))
    assert read_speeds(path).records == (record(),)


def test_read_speeds__missing_is_none(tmp_path: Path) -> None:
    assert read_speeds(tmp_path / "speeds").records == ()
