"""Tables of text: delimiters, encodings, JSON Lines."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from burnish.data.formats.table import MAX_LINE, read_head, read_rows
from burnish.data.problems import Problem
from burnish.errors import DataError

CELLS = [("a.png", "Bär, braun"), ("b.png", "cat")]


def read(path: Path) -> list[tuple[str, ...]]:
    wrong: list[Problem] = []
    head = read_head(path)
    rows = [row.cells for row in read_rows(path, head, wrong)]
    assert not wrong
    return [head.columns, *rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("t.csv", ","), ("t.csv", ";"), ("t.tsv", "\t"), ("t.csv", "\t"), ("T.CSV", ",")],
)
def test_delimiters_and_encodings(tmp_path: Path, name: str, delimiter: str, encoding: str) -> None:
    lines = [("path", "label"), *((path, f'"{label}"') for path, label in CELLS)]
    text = "\r\n".join(delimiter.join(cells) for cells in lines)
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert read(tmp_path / name) == [("path", "label"), *CELLS]


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    lines = ['{"file_name": "a.png", "label": 3, "x": null}', "", '{"label": " b ", "y": 1}']
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read(path) == [("file_name", "label", "x"), ("a.png", "3", ""), ("", "b", "")]
    for content in ("[1, 2]", "{", "[" * 100_000):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="is no JSON Lines"):
            read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\na.png,Bär\n".encode("cp1252"), r"is not UTF-8 \(byte 0xe4\).*iconv -f WIND"),
        ("path,label\na.png,cat\n".encode("utf-16-le"), "zero bytes, as UTF-16 without its mark"),
        (codecs.BOM_UTF16_LE + b"p\0a\0t\0h\0x", "is not UTF-8"),
        (b"a" * (MAX_LINE + 1), r"a line of more than 1,048,576 characters"),
        (b'path,label\n"a.png', "is no CSV table"),
    ],
)
def test_what_is_no_table_of_text(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path)


def test_rows_of_another_length_are_collected(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3\n,,\n4,5,6\n", encoding="utf-8")
    wrong: list[Problem] = []
    rows = list(read_rows(path, read_head(path), wrong))
    assert [(row.number, row.cells) for row in rows] == [(2, ("1", "2"))]
    assert [problem.name for problem in wrong] == ["row 3", "row 5"]
