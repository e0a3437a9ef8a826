"""The OpenAPI document as a page, with nothing from outside and no script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="static/icon.svg">
<link rel="stylesheet" href="static/style.css">
</head>
<body class="api">
<header class="top"><p class="name"><a href="./">{title}</a></p>
<nav><a href="openapi.json">openapi.json</a></nav></header>
<main>
<h1>API</h1>
<p>{description}</p>
{operations}
<h2>Schemas</h2>
{schemas}
</main>
</body>
</html>
"""


def write_api_page(api: Mapping[str, Any]) -> str:
    """Write the page of an OpenAPI document.

    Parameters
    ----------
    api
        From :func:`burnish.serve.openapi.describe_api`.

    Returns
    -------
    HTML, every value escaped.
    """
    operations = "\n".join(
        _write_operation(method, path, operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "\n".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre></details>"
        for name, schema in api["components"]["schemas"].items()
    )
    return _PAGE.format(
        title=escape(api["info"]["title"]),
        description=_mark_code(api["info"]["description"]),
        operations=operations,
        schemas=schemas,
    )


def _write_operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [
        '<section class="operation">',
        f'<h2><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h2>',
        f"<p><strong>{escape(operation['summary'])}.</strong> "
        f"{_mark_code(operation.get('description', ''))}</p>",
    ]
    if "x-example" in operation:
        parts.append(f"<pre>{escape(operation['x-example'])}</pre>")
    if operation.get("parameters"):
        rows = "".join(
            f"<tr><th scope=row><code>{escape(item['name'])}</code></th>"
            f"<td>{escape(item['description'])}</td></tr>"
            for item in operation["parameters"]
        )
        parts.append(f"<table><caption>Query</caption>{rows}</table>")
    rows = "".join(
        f"<tr><th scope=row>{escape(status)}</th><td>{_write_response(response)}</td></tr>"
        for status, response in operation["responses"].items()
    )
    parts.append(f"<table><caption>Answers</caption>{rows}</table></section>")
    return "\n".join(parts)


def _write_response(response: Mapping[str, Any]) -> str:
    text = escape(response["description"])
    for content in response["content"].values():
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if name:
            text += f' (<a href="#{escape(name)}">{escape(name)}</a>)'
    return text


def _mark_code(text: str) -> str:
    """Escape a text; what stands between backticks is code."""
    pieces = escape(text).split("`")
    return "".join(
        f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces)
    )
