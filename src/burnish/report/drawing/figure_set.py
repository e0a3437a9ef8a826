"""The pictures of a page: drawn once, embedded in it, and kept beside it as PNG and SVG."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from burnish.files import write_whole
from burnish.report.drawing.inline import inline_svg
from burnish.report.drawing.render import Picture, render


class FigureSet:
    """Collects the pictures of one page.

    Parameters
    ----------
    png
        Whether they are drawn as PNG too; a page that is only looked at needs none.
    """

    def __init__(self, *, png: bool = True) -> None:
        self._png = png
        self._pictures: dict[str, Picture] = {}
        self._copies: dict[Path, str] = {}

    def embed(self, name: str, figure: Figure) -> str:
        """Take a figure in; return it as the address of an image, which stands in the page."""
        svg = self._add(name, figure)
        return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")

    def keep(self, name: str, figure: Figure) -> None:
        """Take in a figure that stands beside the page, not in it."""
        if self._png:  # Else nothing is written beside the page.
            self._add(name, figure)

    def inline(
        self,
        name: str,
        figure: Figure,
        description: str,
        titles: Mapping[str, Sequence[str]] | None = None,
        series: Mapping[str, str] | None = None,
    ) -> Markup:
        """Take a figure in; return it as part of the page (see :func:`inline_svg`)."""
        # Its texts were escaped when the SVG was written; Markup is what says so to jinja2.
        return Markup(inline_svg(self._add(name, figure), name, description, titles, series))

    def copy(self, name: str, stem: Path) -> None:
        """Keep a picture at another place too; a path without its suffix."""
        self._copies[stem] = name

    def write(self, folder: Path) -> None:
        """Write all pictures, and remove those of an earlier page that are no more."""
        for name, picture in self._pictures.items():
            _write_picture(folder / name, picture)
        for stem, name in self._copies.items():
            _write_picture(stem, self._pictures[name])
        for path in folder.glob("*"):
            if path.suffix in {".png", ".svg"} and path.stem not in self._pictures:
                path.unlink(missing_ok=True)

    def write_beside(self, folder: Path) -> None:
        """Write all pictures into a folder that holds other things too."""
        for name, picture in self._pictures.items():
            _write_picture(folder / name, picture)

    def _add(self, name: str, figure: Figure) -> bytes:
        self._pictures[name] = render(figure, png=self._png)
        return self._pictures[name].svg


def _write_picture(stem: Path, picture: Picture) -> None:
    for suffix, content in (("svg", picture.svg), ("png", picture.png)):
        if content is not None:
            write_whole(stem.with_name(f"{stem.name}.{suffix}"), content)
