"""Names that would steer a terminal or are rich's markup: shown as the text that they are."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from burnish.bundle.classify import Answer
from burnish.bundle.listing import list_as_csv, list_as_json, list_for_people
from burnish.errors import show_plainly
from burnish.files import show_json
from burnish.terminal import TerminalObserver, print_check, tabulate_status

HOSTILE = [
    "\x1b[2J\x1b]0;title\x07cat",
    "\x9b31mcat",
    "[red]cat[/red]",
    "[link=https://evil.example]cat[/link]",
    "[/nothing] was opened",
    "cat\u202egnp.exe",
    os.fsdecode(b"caf\xe9.png"),
]


@given(st.text(st.characters(), max_size=50))
def test_what_is_shown_can_be_printed_and_has_no_command_in_it(text: str) -> None:
    shown = show_plainly(text)
    shown.encode()
    assert all(c.isprintable() or c == "\n" for c in shown)
    if text.isprintable():
        assert shown == text


@given(
    st.recursive(
        st.text(st.characters(), max_size=20) | st.integers() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
        max_leaves=8,
    )
)
def test_json_for_a_terminal_is_the_same_json(content: object) -> None:
    shown = show_json(content)
    assert json.loads(shown) == json.loads(json.dumps(content))
    assert show_plainly(shown) == shown


def console() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=False, width=200), stream


@pytest.mark.parametrize("name", HOSTILE)
def test_tables_and_lines_show_names_as_they_are(name: str) -> None:
    status = {
        "study": name,
        "data": {"source": name},
        "state": name,
        "seconds": 1.0,
        "test": None,
        "stages": [{"name": name, "kind": name, "state": name, "val_loss": None}],
    }
    found = {
        "path": name,
        "num_images": 3,
        "format": "folder",
        "splits": ["train"],
        "classes": [{"name": name, "train": 3, "total": 3}],
        "sizes": [],
        "notes": [name],
        "warnings": [],
        "sheets": [],
        "suspicious": [f"{name}: is not called as an image is"],
        "problems": [f"{name}: is empty"],
        "num_suspicious": 1,
        "num_problems": 1,
        "problem_kinds": [{"kind": "is empty", "num": 1, "examples": [name]}],
    }
    shown, stream = console()
    shown.print(tabulate_status(status))
    print_check(shown, found)
    observer = TerminalObserver(shown)
    observer.stage_started(1, 1, name, name)
    observer.on_note(name)
    observer.close()
    text = stream.getvalue()
    assert text.count(show_plainly(name)) >= 9
    assert all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize("name", HOSTILE)
def test_answers_about_images_of_such_names_can_be_printed_and_written(name: str) -> None:
    answers = [Answer(Path(name), (("cat", 1.0),)), Answer(Path(name), error=f"{name} is empty")]
    for text in (list_for_people(answers), list_as_json("m", answers)):
        assert show_plainly(text) == text
    assert json.loads(list_as_json("m", answers))["images"][0]["image"] == str(Path(name))
    assert list_as_csv(answers).encode()


def test_an_error_that_quotes_a_name_does_not_steer_the_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in (b"cat", b"do\x1b[31mg", b"caf\xe9"):
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).mkdir(parents=True)
    (folder / "cat" / "a.png").touch()
    for command in (
        ["check", str(folder), "--json"],
        ["init", str(folder)],
        ["check", str(folder)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "burnish", *command],
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )
        assert done.returncode in (1, 2), done.stderr.decode()
        assert b"Traceback" not in done.stderr
        assert b"\x1b" not in done.stdout + done.stderr
        assert b"\xe9" not in done.stdout + done.stderr
