"""Whose requests a server on this machine answers: not those that another site had a browser send.

A browser asks whatever address a page's name leads to, also when the name's owner points it at
127.0.0.1 (DNS rebinding). Such a request carries that name as its Host. A page from elsewhere may
also send forms here; such a request carries its Origin.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

ANY = "*"
"""Among allowed names: every name, for a server that others keep strangers away from."""


def explain_foreign(
    hosts: Sequence[str], origins: Sequence[str], allowed: Collection[str] = ()
) -> str | None:
    """Say why a request is not to be answered, or None.

    Parameters
    ----------
    hosts, origins
        Its headers Host and Origin, as many as there are.
    allowed
        Names that may stand in them, in small letters, beside addresses and ``localhost``: a
        name alone can be pointed here by whoever owns it.

    >>> explain_foreign(["127.0.0.1:8000"], [])
    >>> explain_foreign(["evil.example"], [])
    "the host 'evil.example' is not known here"
    >>> explain_foreign(["localhost:8000"], ["https://evil.example"])
    "the page 'https://evil.example' is not from here"
    """
    if len(hosts) > 1 or len(origins) > 1:
        return "there are two headers Host or Origin"
    # A client without the header is no browser, and goes where it was told to.
    host = hosts[0] if hosts else ""
    if hosts and not _is_known(_name_of(f"//{host}"), allowed):
        return f"the host {host[:80]!r} is not known here"
    for origin in origins:
        named = _name_of(origin)
        same = urlsplit(origin).netloc.casefold() == host.casefold() if named else False
        if not (same or (named is not None and (named in allowed or ANY in allowed))):
            return f"the page {origin[:80]!r} is not from here"
    return None


def _name_of(address: str) -> str | None:
    """Give the host in an address, without its port; None where there is none."""
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
