"""Plain data that shows itself as the command line prints it, also in a notebook."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 100
_PAGE = '<pre style="white-space:pre;overflow-x:auto;line-height:normal">{code}</pre>'


class Check(dict[str, Any]):
    """What `check` found in images: a dict with ``problems``, ``warnings``, ``classes`` and more.

    It shows itself as ``burnish check`` prints it.
    """

    def _print(self, console: Console) -> None:
        from burnish.terminal import print_check

        print_check(console, self)

    def __repr__(self) -> str:
        return _show_text(self._print)

    def _repr_html_(self) -> str:
        return _show_html(self._print)


class Plan(dict[str, Any]):
    """What a study would do and take: a dict with ``seconds``, ``disk_bytes`` and ``stages``.

    It shows itself as ``burnish plan`` prints it.
    """

    def _print(self, console: Console) -> None:
        from burnish.terminal import tabulate_plan

        console.print(tabulate_plan(self))

    def __repr__(self) -> str:
        return _show_text(self._print)

    def _repr_html_(self) -> str:
        return _show_html(self._print)


def _show_text(draw: Callable[[Console], None]) -> str:
    from rich.console import Console

    file = io.StringIO()
    draw(Console(file=file, width=_WIDTH, force_jupyter=False, color_system=None))
    return file.getvalue().rstrip("\n")


def _show_html(draw: Callable[[Console], None]) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=_WIDTH, force_jupyter=False, record=True)
    draw(console)
    return console.export_html(inline_styles=True, code_format=_PAGE)
