"""The pages of the service, ready in memory: the drawing page, the page of the API, their files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from burnish.bundle.model import Model
from burnish.serve.api_page import write_api_page

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FILES = (
    "style.css",
    "main.js",
    "pad.js",
    "picture.js",
    "answer.js",
    "icon.svg",
)


class Pages:
    """Maps paths to finished answers."""

    def __init__(self, model: Model, api: Mapping[str, Any]) -> None:
        folder = resources.files("burnish.serve") / "page"
        index = Template((folder / "index.html").read_text(encoding="utf-8"))
        html = "text/html; charset=utf-8"
        self._pages: dict[str, tuple[str, bytes]] = {
            "/": (html, index.substitute(_describe(model)).encode()),
            "/docs": (html, write_api_page(api).encode()),
        }
        for name in _FILES:
            content = (folder / name).read_bytes()
            self._pages[f"/static/{name}"] = (_TYPES[name.rpartition(".")[2]], content)
        self._tags = {
            path: f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            for path, (_, content) in self._pages.items()
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """What is there."""
        return tuple(self._pages)

    def respond(self, request: Request) -> Response:
        """Return the page at a request's path, or 304 to a client that has it."""
        path = request.scope["route"].path
        kind, content = self._pages[path]
        headers = {"ETag": self._tags[path], "Cache-Control": "no-cache"}
        if self._tags[path] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers={**headers, "Content-Type": kind})


def _describe(model: Model) -> dict[str, str]:
    """What the page's template is filled with, escaped."""
    spec = model.spec
    channels = "grey" if spec.color == "grey" else "colour"
    values = {
        "name": model.name,
        "recipe": spec.recipe,
        "classes": json.dumps(list(model.class_names), ensure_ascii=False),
        "num_classes": str(len(model.class_names)),
        "size": f"{spec.width} x {spec.height}",
        "width": str(spec.width),
        "height": str(spec.height),
        "color": channels,
    }
    return {name: escape(value, quote=True) for name, value in values.items()}
