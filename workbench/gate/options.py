"""The options of `python app.py` and `uda4inst app`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from workbench.gate.exposure import Exposure, is_loopback
from workbench.gate.passwords import ask_password, read_passwords

_LAST_PORT: Final = 65535
_DIGITS: Final = 5


def make_parser(prog: str = "python app.py") -> argparse.ArgumentParser:
    """Return what reads the command line; `prog` is how help names the command."""
    parser = argparse.ArgumentParser(prog=prog, description="UDA4Inst workbench")
    add = parser.add_argument
    add("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    add("--data", type=Path, default=Path("data/toystreets"), help="folder of ToyStreets")
    add("--suites", type=Path, default=Path("suites"), help="folder of the suites")
    add(
        "--port",
        type=_port,
        default=7860,
        metavar="INTEGER",
        help="port to listen on, 1 to 65535",
    )
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; one that other machines reach needs a password",
    )
    add(
        "--auth-file",
        type=Path,
        metavar="FILE",
        help="passwords, a line user:password each, readable by its owner alone (chmod 600)",
    )
    add("--ssl-certfile", type=Path, metavar="FILE", help="TLS certificate, with its key: HTTPS")
    add("--ssl-keyfile", type=Path, metavar="FILE", help="key of the TLS certificate")
    add(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="further name under which the app answers, as of a proxy; may be repeated",
    )
    return parser


def _port(text: str) -> int:
    """Return a port.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    port = int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0
    if not 1 <= port <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 65535, got {text!r}")
    return port


def exposure_of(options: argparse.Namespace) -> Exposure:
    """Return how the app is to be reached, passwords read or asked for.

    Args:
        options: of `make_parser`.

    Raises:
        UserError: it would be open to others without a password, or a file is not right.
    """
    host: str = options.host.strip("[]")
    if options.auth_file is not None:
        passwords = read_passwords(options.auth_file)
    else:
        passwords = {} if is_loopback(host) else ask_password()
    return Exposure(
        host=host,
        port=options.port,
        allowed=tuple(options.allowed_host),
        passwords=passwords,
        certificate=options.ssl_certfile,
        key=options.ssl_keyfile,
    ).check()
