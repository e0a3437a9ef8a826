"""The templates of pages, and the script that stands in them."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

import jinja2
from markupsafe import Markup

from burnish.errors import show_name
from burnish.report.formatting import show_duration, show_many, show_p_value, sign


def read_script(name: str) -> Markup:
    """Our own script, which holds nothing of the run and so needs no escaping."""
    folder = resources.files("burnish.report") / "templates"
    own = (folder / "report.js").read_text(encoding="utf-8")
    more = (folder / name).read_text(encoding="utf-8") if name != "report.js" else ""
    return Markup(own + more)


def hash_script(script: str) -> str:
    """The hash by which the page's security policy knows its script, and no other."""
    # HTML reads every line end as \n before the browser computes the same.
    digest = hashlib.sha256(script.replace("\r\n", "\n").encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def _make_breakable(name: str) -> Markup:
    """Let a long name of several words be broken between them."""
    return Markup("_<wbr>").join(name.split("_"))


def templates() -> jinja2.Environment:
    """The templates of pages, with how numbers are written in them."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("burnish.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        loss=lambda value: f"{value:.4f}",
        percent=lambda value: f"{100 * value:.2f} %",
        count=lambda value: f"{value:,}",
        short=lambda value: f"{value:g}",
        signed=lambda value: sign(value, 4),
        pvalue=lambda value: show_p_value(value).removeprefix("p").removeprefix(" = ").strip(),
        many=show_many,
        duration=show_duration,
        name=show_name,
        breakable=_make_breakable,
    )
    return environment
