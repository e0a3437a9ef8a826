"""What a call says on standard output while it goes on; nothing, where nobody wants to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from burnish.terminal import TerminalObserver


@dataclass(frozen=True)
class Teller:
    """Tells a person how a call goes on.

    Attributes
    ----------
    console
        Standard output, or nowhere.
    """

    console: Console

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is said."""
        return self.console.quiet

    def say(self, line: str) -> None:
        """Print a line; text that it quotes cannot steer the terminal."""
        from rich.text import Text

        from burnish.errors import show_plainly

        self.console.print(Text(show_plainly(line)), soft_wrap=True)

    def note(self, line: str) -> None:
        """Print a line that should not be missed."""
        self.observer().on_note(line)

    def show_check(self, found: dict[str, Any]) -> None:
        """Print what was found in images."""
        from burnish.terminal import print_check

        print_check(self.console, found)

    def observer(self) -> TerminalObserver:
        """Return who is told what happens in a run."""
        from burnish.terminal import TerminalObserver

        return TerminalObserver(self.console)


def make_teller(*, verbose: bool) -> Teller:
    """Return who tells on standard output, or nobody."""
    from burnish.live_bar import make_console

    return Teller(make_console(quiet=not verbose))
