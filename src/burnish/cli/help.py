"""Help that lists what is registered, plug-ins among it: looked up only where help is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand


def _data_formats() -> list[str]:
    from burnish.data.formats import FORMATS

    return list(FORMATS.names())


def _network_formats() -> list[str]:
    from burnish.bundle.formats import EXPORT_FORMATS, NetworkFormat

    return [found.name for found in EXPORT_FORMATS if isinstance(found, NetworkFormat)]


def _bundle_formats() -> list[str]:
    from burnish.bundle.formats import EXPORT_FORMATS, BundleFormat

    return [found.name for found in EXPORT_FORMATS if isinstance(found, BundleFormat)]


def _int8_formats() -> list[str]:
    from burnish.bundle.formats.formats import list_int8

    return list_int8()


_LISTS: dict[str, Callable[[], list[str]]] = {
    "{data formats}": _data_formats,
    "{network formats}": _network_formats,
    "{bundle formats}": _bundle_formats,
    "{int8 formats}": _int8_formats,
}


def fill_in(text: str) -> str:
    """Return a help text in which ``{data formats}`` and others are replaced by actual names.

    >>> fill_in("The layout: {data formats}.")
    'The layout: folder, csv, npz, idx, parquet.'
    """
    for placeholder, list_names in _LISTS.items():
        if placeholder in text:
            text = text.replace(placeholder, ", ".join(list_names()))
    return text


class Command(TyperCommand):
    """A command whose options' help may name a list that `fill_in` knows."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, with the names of what is registered."""
        for parameter in self.params:
            said = getattr(parameter, "help", None)
            if said:
                parameter.help = fill_in(said)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)
