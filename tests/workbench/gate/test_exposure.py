from __future__ import annotations

from pathlib import Path

import pytest

from uda4inst.errors import UserError
from workbench.gate import options, passwords
from workbench.gate.exposure import Exposure, announcement, is_loopback
from workbench.gate.options import exposure_of, make_parser
from workbench.gate.passwords import ask_password, is_right, read_passwords


def exposed(*words: str) -> Exposure:
    return exposure_of(make_parser().parse_args(words))


@pytest.fixture
def auth_file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text("# who may come in\n\nada:correct: horse\n  bob :battery staple\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_exposure_of__loopback_needs_nothing(host: str) -> None:
    found = exposed("--host", host)
    assert (found.passwords, found.is_beyond_loopback) == ({}, False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "gpu-box", ""])
def test_exposure_of__beyond_loopback_demands_a_password(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "ask_password", dict)
    assert not is_loopback(host)
    with pytest.raises(UserError, match=r"must have a password, got --host .*--auth-file FILE"):
        exposed("--host", host)


def test_exposure_of__passwords_of_a_file(auth_file: Path) -> None:
    found = exposed("--host", "0.0.0.0", "--auth-file", str(auth_file))
    assert found.passwords == {"ada": "correct: horse", "bob": "battery staple"}
    assert "horse" not in repr(found)
    assert exposed("--auth-file", str(auth_file)).passwords == found.passwords


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("ada:correct horse", 0o640, "must be its owner's alone, got mode 640"),
        ("ada correct horse", 0o600, r"another line \(.*users, line 1\)"),
        (":correct horse", 0o600, "line 1"),
        ("ada:correct horse\nada:another one", 0o600, "each user once.*line 2"),
        ("ada:short", 0o600, "at least 8 characters, got 5 of ada"),
        ("# nobody\n", 0o600, "got no user"),
    ],
)
def test_read_passwords__refused(tmp_path: Path, text: str, mode: int, message: str) -> None:
    path = tmp_path / "users"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(UserError, match=message):
        read_passwords(path)


def test_read_passwords__missing_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "binary"):
        with pytest.raises(UserError, match="--auth-file must be"):
            read_passwords(path)


def test_ask_password__nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords.sys.stdin, "isatty", lambda: False, raising=False)
    assert ask_password() == {}


def test_is_right__needs_user_and_password() -> None:
    known = {"ada": "correct horse", "empty": ""}
    assert is_right(known, "ada", "correct horse")
    assert not is_right(known, "ada", "Correct horse")
    assert not is_right(known, "ada", "")
    assert not is_right(known, "eve", "")
    assert not is_right(known, "eve", "correct horse")


@pytest.mark.parametrize("given", ["--ssl-certfile", "--ssl-keyfile"])
def test_exposure_of__tls_needs_both_files(tmp_path: Path, given: str) -> None:
    with pytest.raises(UserError, match="must be given together"):
        exposed(given, str(tmp_path))
    both = ("--ssl-certfile", str(tmp_path / "c"), "--ssl-keyfile", str(tmp_path / "k"))
    with pytest.raises(UserError, match="TLS must have its files, got none at"):
        exposed(*both)


def test_announcement__says_who_can_open_it(auth_file: Path) -> None:
    alone = announcement(exposed())
    assert alone.startswith("UDA4Inst workbench: http://127.0.0.1:7860\nReached from this machine")
    everybody = announcement(exposed("--host", "0.0.0.0", "--auth-file", str(auth_file)))
    assert "http://localhost:7860" in everybody
    assert "Every machine that reaches port 7860 of 0.0.0.0" in everybody
    assert "(2 known)" in everybody
    assert "readable: give --ssl-certfile" in everybody
    assert "lab.example" in announcement(exposed("--allowed-host", "lab.example"))
    assert "http://[::1]:7860" in announcement(exposed("--host", "::1"))
