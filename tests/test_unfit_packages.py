"""A library of a version that the package does not fit is one message, and not a traceback."""

from __future__ import annotations

from importlib import metadata

import pytest

from uda4inst import cli, doctor


@pytest.fixture
def old_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch seem older than what is required."""
    actual = metadata.version
    monkeypatch.setattr(
        doctor.metadata, "version", lambda name: "2.4.0" if name == "torch" else actual(name)
    )
    monkeypatch.setattr(
        doctor.metadata,
        "requires",
        lambda name: ["torch>=2.11", "numpy>=1", 'ray>=99; extra == "cluster"'],
    )


def test_explain_unfit__names_version_and_remedy(old_torch: None) -> None:
    told = doctor.explain_unfit() or ""
    assert told.startswith("packages must be torch>=2.11, got torch 2.4.0. Install")


def test_examine__says_so(old_torch: None) -> None:
    (found,) = [d for d in doctor._versions() if d.name == "torch"]
    assert (found.state, found.value) == ("broken", "2.4.0, needed is >=2.11")


def test_explain_unfit__nothing_where_all_fits_or_nothing_is_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["torch>=2"])
    assert doctor.explain_unfit() is None

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", missing)
    assert doctor.explain_unfit() is None


def test_main__an_import_that_fails_is_told_as_what_it_is(
    old_torch: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ImportError("cannot import name 'new' from 'torch'")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "got torch 2.4.0" in capsys.readouterr().err
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: [])
    with pytest.raises(ImportError):
        cli.main()
