"""Whose requests a server on this machine answers: not those that another site had a browser send.

A browser asks whatever address a page's name leads to, also when the name's owner points it at
127.0.0.1 (DNS rebinding). Such a request carries that name as its Host. A page from elsewhere may
also send forms here; such a request carries its Origin.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

ANY = "*"
"""Among allowed names: every name, for a server that others keep strangers away from."""


class Foreign(NamedTuple):
    """Why a request is not answered, and the option of ``burnish serve`` that would allow it."""

    reason: str
    option: str = ""


def explain_foreign(
    hosts: Sequence[str],
    origins: Sequence[str],
    allowed: Collection[str] = (),
    allowed_origins: Collection[str] = (),
) -> Foreign | None:
    """Say why a request is not to be answered, or None.

    Parameters
    ----------
    hosts, origins
        Its headers Host and Origin, as many as there are.
    allowed
        Names that may stand in them, in small letters, beside addresses and ``localhost``: a
        name alone can be pointed here by whoever owns it. Behind a proxy that sends its own Host
        a page's origin has such a name.
    allowed_origins
        Origins of pages from elsewhere that may ask, as `parse_origin` returns them.

    >>> explain_foreign(["127.0.0.1:8000"], [])
    >>> explain_foreign(["evil.example"], [])
    Foreign(reason="the host 'evil.example' is not known here", option='--allow-host evil.example')
    >>> explain_foreign(["localhost:8000"], ["http://localhost:5173"]).option
    '--allow-origin http://localhost:5173'
    """
    if len(hosts) > 1 or len(origins) > 1:
        return Foreign("there are two headers Host or Origin")
    # A client without the header is no browser, and goes where it was told to.
    host = hosts[0] if hosts else ""
    if hosts and not _is_known(_name_of(f"//{host}"), allowed):
        name = _name_of(f"//{host}")
        option = f"--allow-host {shlex.quote(name[:80])}" if name else ""
        return Foreign(f"the host {host[:80]!r} is not known here", option)
    for origin in origins:
        if not (is_allowed_origin(origin, allowed_origins) or _is_from_here(origin, host, allowed)):
            option = f"--allow-origin {shlex.quote(origin[:80])}"
            return Foreign(f"the page {origin[:80]!r} is not from here", option)
    return None


def is_allowed_origin(origin: str, allowed: Collection[str]) -> bool:
    """Whether a page from elsewhere may ask, and read what is answered."""
    return ANY in allowed or origin.casefold() in allowed


def parse_origin(given: str) -> str:
    """Return an origin as browsers send it: scheme, host and a port that is not the usual one.

    Parameters
    ----------
    given
        ``http://localhost:5173``; ``null``, which pages without an address send (a file that was
        opened in the browser); or ``*`` for any.

    Raises
    ------
    ValueError
        If it is none of these.

    >>> parse_origin("https://Example.org:443/")
    'https://example.org'
    """
    if given in (ANY, "null"):
        return given
    parts = urlsplit(given.strip())
    name = _name_of(given.strip())
    extra = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in _PORTS or name is None or extra:
        raise ValueError(
            f"'{given[:80]}' is no origin: expected scheme, host and port, such as "
            "http://localhost:5173; or null, for a page that was opened from a file; or *"
        )
    shown = f"[{name}]" if ":" in name else name
    port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{shown}{port}"


_PORTS = {"http": 80, "https": 443}


def _is_from_here(origin: str, host: str, allowed: Collection[str]) -> bool:
    """Whether a page is this server's own, seen directly or through a proxy."""
    name = _name_of(origin)
    if name is None:
        return False
    if urlsplit(origin).netloc.casefold() == host.casefold():
        return True
    # Of the same name and another port it is another server's page: no proxy stands between.
    return name != _name_of(f"//{host}") and (name in allowed or ANY in allowed)


def _name_of(address: str) -> str | None:
    """Return the host in an address, without its port; None where there is none."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # Raises where it is no number.
        return parts.hostname if parts.netloc and "@" not in parts.netloc else None
    except ValueError:
        return None


def _is_known(name: str | None, allowed: Collection[str]) -> bool:
    if name is None:
        return False
    if name == "localhost" or name in allowed or ANY in allowed:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
