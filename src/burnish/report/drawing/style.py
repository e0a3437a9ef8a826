"""How every picture looks: colours, fonts, titles, ticks.

Only matplotlib's object interface is used, with its defaults whatever the user's own
settings say. Colours are from Okabe and Ito's palette, which colour-blind readers can tell
apart, and no meaning hangs on colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

BLUE = "#0072B2"
VERMILLION = "#D55E00"
INK = "#1b242c"
SOFT = "#5b6873"
LINE = "#d5dbe0"
GREY = "#a9b4bd"


TICK_STEPS = [1, 2, 2.5, 5, 10]


# Verdana has nearly the widths of DejaVu Sans, which matplotlib brings along: an SVG looks
# the same where only one of them is installed. The rest draw scripts that DejaVu lacks.
_FONTS = ("DejaVu Sans", "Verdana", "Noto Sans CJK JP", "Noto Sans", "Arial Unicode MS")
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": "#e6eaee",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "burnish",
    "text.color": INK,
    # A class or stage may be called "$x$"; names are text, never formulas.
    "text.parse_math": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.5,
}


class ReportFigure(Figure):
    """A figure that a notebook shows as the report does, whatever the user's settings say."""

    def _repr_png_(self) -> bytes:
        from burnish.report.drawing.render import render

        shown = render(self).png
        assert shown is not None
        return shown


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the user's own settings say."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
        mpl.rcParams["font.family"] = [name for name in _FONTS if name in installed]
        yield


def elide(text: str, length: int) -> str:
    """Make a name fit a picture: one line, printable, at most ``length`` characters.

    The middle goes, since names in a series differ at their ends.

    >>> elide("a rather long name 12", 12)
    'a rath…me 12'
    """
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    if len(line) <= length:
        return line
    tail = (length - 1) // 2
    return line[: length - 1 - tail] + "…" + line[len(line) - tail :]


def start(width: float, height: float, title: str, subtitle: str, legend_rows: int = 0) -> Figure:
    """Begin a figure with a title, a subtitle and room for a legend above the axes."""
    figure = ReportFigure(figsize=(width, height), layout="constrained")
    header = 0.62 + 0.24 * legend_rows  # inches
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0.0, 0.0, 1.0, 1.0 - header / height), w_pad=0.1, h_pad=0.08)  # type: ignore[call-arg]
    left = 0.1 / width
    figure.text(left, 1 - 0.13 / height, title, va="top", fontsize=12.5, fontweight="bold")
    figure.text(left, 1 - 0.39 / height, subtitle, va="top", fontsize=9.5, color=SOFT)
    return figure


def plain(value: float, _position: float | None = None) -> str:
    """Write a tick's number without needless zeros."""
    return f"{value:g}"


def scale_log(axes: Axes, losses: Sequence[float]) -> None:
    """Draw losses on a logarithmic axis, unless they are nearly the same."""
    usable = [loss for loss in losses if loss > 0 and math.isfinite(loss)]
    if not usable:
        return
    axes.set_yscale("log")
    span = max(usable) / min(usable)
    subs = (1.0, 2.0, 5.0) if span > 5 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    if span < 1.5:
        axes.set_yscale("linear")
        axes.yaxis.set_major_locator(MaxNLocator(5))
    else:
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=subs))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(min(usable) / 1.15, max(usable) * 1.15)
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
