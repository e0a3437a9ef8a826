"""Drawing a figure as SVG and PNG, the same bytes each time."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from dataclasses import dataclass

from matplotlib.figure import Figure

from burnish.report.drawing.style import style


@dataclass(frozen=True)
class Picture:
    """A figure as SVG and, unless only the page was wanted, as PNG."""

    svg: bytes
    png: bytes | None


def render(figure: Figure, *, png: bool = True) -> Picture:
    """Draw a figure as SVG and PNG.

    The same figure gives the same bytes: no date is written, and identifiers inside the SVG
    do not depend on chance. Text in the SVG stays text.
    """
    content: dict[str, bytes] = {}
    metadata: dict[str, dict[str, str | None]] = {"svg": {"Date": None}}
    if png:
        metadata["png"] = {"Software": "burnish"}
    with style(), warnings.catch_warnings():
        # A script that no installed font draws shows as boxes in the PNG; the SVG is right.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # Once for both: it takes longer than to draw, and each savefig would do it anew.
        layout = figure.get_layout_engine()
        if layout is not None:
            with suppress(ValueError):  # As when matplotlib itself lays out what it draws.
                layout.execute(figure)
            figure.set_layout_engine(None)
        for kind, facts in metadata.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=150, metadata=facts)
            content[kind] = buffer.getvalue()
    return Picture(content["svg"], content.get("png"))
