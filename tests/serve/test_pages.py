from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest

from burnish.bundle.model import load
from burnish.image import InputSpec
from burnish.serve import Limits

from .bundles import serve_in_thread, write_bundle

PAGE = resources.files("burnish.serve") / "page"
STATIC = [f"/static/{file.name}" for file in PAGE.iterdir() if file.name != "index.html"]


class Elements(HTMLParser):
    """Every element of a page, with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", ["/", "/docs", "/nothing", "/v2", "/metrics", *STATIC])
def test_every_answer_is_fenced_in(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_has_nothing_inline_and_nothing_from_outside(
    client: httpx.Client, path: str
) -> None:
    answer = client.get(path)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(r"\$[a-z_{]", answer.text.replace("&quot;$ref", ""))
    for tag, attributes in Elements(answer.text).found:
        assert tag != "style"
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag == "script":
            assert attributes["src"]
        for name in ("src", "href"):
            link = attributes.get(name)
            if link and not link.startswith("#"):
                assert client.get("/" + link.removeprefix("./")).status_code == 200


@pytest.mark.parametrize("path", STATIC)
def test_files_of_the_page_ask_for_nothing_outside(client: httpx.Client, path: str) -> None:
    answer = client.get(path).raise_for_status()
    addresses = re.findall(r"(?:https?:)?//[a-z0-9.]+\.[a-z]+\S*", answer.text)
    assert [one for one in addresses if not one.startswith("http://www.w3.org/2000/svg")] == []
    assert "innerHTML" not in answer.text
    tag = answer.headers["ETag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_names_of_classes_are_escaped_on_every_page(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    folder = write_bundle(tmp_path, "odd", InputSpec(8, 8, "rgb"), (evil, "'b'", "c & d"))
    with serve_in_thread(load(folder), Limits()) as address:
        for path in ("/", "/docs"):
            text = httpx.get(address + path).text
            assert "<script>alert" not in text
            assert "&lt;script&gt;alert" in text
        plain = httpx.get(address).text
        assert 'data-recipe="plain"' in plain
        found = [attributes for tag, attributes in Elements(plain).found if tag == "table"]
        assert "c & d" in (found[0]["data-classes"] or "")


def find_references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*map(find_references, node.values()))
    if isinstance(node, list):
        return set().union(*map(find_references, node))
    return set()


def test_the_document_of_the_api_names_what_is_there(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()
    assert api["openapi"].startswith("3.1")
    schemas = {f"#/components/schemas/{name}" for name in api["components"]["schemas"]}
    references = find_references(api)
    assert references <= schemas
    operations = []
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            operations.append(operation["operationId"])
            status = client.request(method.upper(), path, content=b"").status_code
            assert status in (200, 400), (method, path)
            assert str(status) in operation["responses"]
    assert len(operations) == len(set(operations))


def test_the_page_of_the_api_names_every_operation(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()
    text = client.get("/docs").text
    for path, methods in api["paths"].items():
        assert f"<code>{path}</code>" in text
        for operation in methods.values():
            assert operation["summary"] in text


def test_answers_hold_what_their_schemas_require(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            content = operation["responses"]["200"]["content"].get("application/json", {})
            if method != "get" or "schema" not in content:
                continue
            name = content["schema"]["$ref"].rpartition("/")[2]
            schema = api["components"]["schemas"][name]
            said = client.get(path).json()
            assert set(schema["required"]) <= set(said) <= set(schema["properties"]), path
