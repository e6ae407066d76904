"""Where the app listens, under which names it answers, and who needs a password."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from uda4inst.errors import UserError

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# Name or address, and perhaps a port; no user, no path, nothing that readers disagree about.
_AUTHORITY: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Exposure:
    """How the app can be reached.

    Args:
        host: address it listens on.
        port: on that address.
        allowed: further names under which it answers, as of a proxy before it.
        passwords: by user; none where whoever reaches the port may use the app.
        certificate: TLS certificate, or None for plain HTTP.
        key: of the certificate.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    allowed: tuple[str, ...] = ()
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_beyond_loopback(self) -> bool:
        """Whether other machines can reach the port."""
        return not is_loopback(self.host)

    @property
    def address(self) -> str:
        """What to open in a browser on this machine."""
        host = "localhost" if _is_wildcard(self.host) else self.host
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def answers_to(self, authority: str) -> bool:
        """Whether a `Host` names this app.

        A page elsewhere whose own name leads to this machine (DNS rebinding) names itself here, so
        only names count that nobody else can have: those of loopback and of this machine, what
        `allowed` names, and beyond loopback any address in numbers.
        """
        name = name_of(authority)
        if name is None:
            return False
        if name in _LOOPBACK or name in {known.lower() for known in (self.host, *self.allowed)}:
            return not _is_wildcard(name) or self.is_beyond_loopback
        if not self.is_beyond_loopback:
            return False
        return _is_address(name) or name in {socket.gethostname().lower(), socket.getfqdn().lower()}

    def check(self) -> Exposure:
        """Return this unchanged.

        Raises:
            UserError: others could reach the app without a password, or only half of TLS is there.
        """
        if self.is_beyond_loopback and not self.passwords:
            raise UserError(
                f"an address that other machines reach must have a password, got --host "
                f"{self.host} without one. Give --auth-file FILE with lines user:password, start "
                "from a terminal to be asked, or leave --host out and come by ssh -L."
            )
        if (self.certificate is None) != (self.key is None):
            raise UserError(
                "--ssl-certfile and --ssl-keyfile must be given together, got one. Give both."
            )
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise UserError(f"TLS must have its files, got none at {path}. Correct the path.")
        return self


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def name_of(authority: str) -> str | None:
    """Return the name or address in a `Host` header; None where it is not one.

    Example:
        >>> name_of("LocalHost:7860"), name_of("[::1]:80"), name_of("user@localhost")
        ('localhost', '::1', None)
    """
    found = _AUTHORITY.fullmatch(authority)
    return None if found is None else (found[1] or found[2]).lower().removesuffix(".")


def announcement(exposure: Exposure) -> str:
    """Return what is said when the app starts: where it is, who can open it, and what they can."""
    lines = [f"UDA4Inst workbench: {exposure.address}"]
    if exposure.is_beyond_loopback:
        lines.append(
            f"Every machine that reaches port {exposure.port} of {exposure.host} sees its login; "
            f"who has a password ({len(exposure.passwords)} known) can start and stop trainings "
            "and see runs, suites and any data set that this account can read."
        )
    elif exposure.passwords:
        lines.append("Reached from this machine alone, with a password.")
    else:
        lines.append(
            "Reached from this machine alone, by all its accounts (--auth-file asks for a "
            "password)."
        )
    if exposure.allowed:
        names = ", ".join(exposure.allowed)
        lines.append(f"Answers to {names} too: whoever a proxy there lets through is let in.")
    if exposure.is_beyond_loopback and exposure.certificate is None:
        lines.append(
            "Passwords and pictures cross the network readable: give --ssl-certfile and "
            "--ssl-keyfile, or put a proxy with TLS before it."
        )
    return "\n".join(lines)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_wildcard(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified
