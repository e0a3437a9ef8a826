"""An SVG as part of the page: with values under the pointer, and curves to show and hide.

Everything works without a script but the showing and hiding.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(
    svg: bytes,
    name: str,
    description: str,
    titles: Mapping[str, Sequence[str]] | None = None,
    series: Mapping[str, str] | None = None,
) -> str:
    """Return an SVG file as an element of the page.

    Parameters
    ----------
    svg
        As matplotlib writes it.
    name
        Goes before every identifier, so that two pictures on one page do not share any.
    description
        What a reader who does not see it is told.
    titles
        Texts to show at the pointer, by the identifier of a group of marks: one for each
        mark in it, or a single one for the whole group.
    series
        Name of the curve that a group belongs to, by its identifier.

    Returns
    -------
    Markup; all texts in it are escaped.
    """
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _LINK)
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            # The style would hold for the whole page, and of the metadata nobody has use.
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    groups = {node.get("id"): node for node in root.iter() if node.get("id")}
    for group, texts in (titles or {}).items():
        if group in groups:
            _add_titles(groups[group], texts)
    for group, title in (series or {}).items():
        if group in groups:
            groups[group].set("data-series", title)
    _prefix(root, name)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", description)
    # What the style sheet that was taken out had said.
    root.set("stroke-linejoin", "round")
    root.set("stroke-linecap", "butt")
    return ET.tostring(root, encoding="unicode")


def _add_titles(group: ET.Element, texts: Sequence[str]) -> None:
    places = [group]
    # Of many marks matplotlib draws one and uses it again; of few it draws each.
    shared = {path for defs in group.iter(f"{{{_SVG}}}defs") for path in defs}
    for tag in ("use", "path"):
        marks = [node for node in group.iter(f"{{{_SVG}}}{tag}") if node not in shared]
        if len(marks) == len(texts):
            places = marks
            break
    for node, text in zip(places, texts, strict=False):
        title = ET.Element(f"{{{_SVG}}}title")
        title.text = text
        node.insert(0, title)


def _prefix(root: ET.Element, name: str) -> None:
    for node in root.iter():
        for key, value in list(node.attrib.items()):
            if key == "id":
                node.set(key, f"{name}-{value}")
            elif key in ("href", f"{{{_LINK}}}href") and value.startswith("#"):
                # Plain href is understood everywhere, and needs no namespace.
                del node.attrib[key]
                node.set("href", f"#{name}-{value[1:]}")
            elif "url(#" in value:
                node.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
