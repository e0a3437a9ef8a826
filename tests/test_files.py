from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from burnish.errors import DamageError, RunFolderError
from burnish.files import (
    find_cache_folder,
    read_json,
    read_sealed,
    sync_folder,
    write_json,
    write_sealed,
    write_whole,
)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "weights.bin"
    write_whole(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names_in(path.parent) == ["weights.bin"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_whole(path, b"long content")
    write_whole(path, b"short")
    assert path.read_bytes() == b"short"
    assert names_in(tmp_path) == ["result.json"]


def test_an_open_reader_sees_the_old_content_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_whole(path, b"old content")
    with path.open("rb") as reader:
        assert reader.read(3) == b"old"
        write_whole(path, b"new")
        assert reader.read() == b" content"


def test_a_file_where_a_folder_is_needed_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "stages").write_bytes(b"a file")
    path = tmp_path / "stages" / "result.json"
    with pytest.raises(RunFolderError, match=r"cannot write .*result\.json"):
        write_whole(path, b"content")
    assert (tmp_path / "stages").read_bytes() == b"a file"


def test_a_folder_where_the_file_should_go_is_an_error_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    path = tmp_path / "result.json"
    path.mkdir()
    with pytest.raises(RunFolderError, match=r"cannot write .*result\.json"):
        write_whole(path, b"content")
    assert names_in(tmp_path) == ["result.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_write_that_runs_out_of_room_leaves_what_stood_there(tmp_path: Path) -> None:
    """A real one: the process may write 1,000 bytes to a file and no more."""
    path = tmp_path / "result.bin"
    path.write_bytes(b"before")
    script = f"""
import resource
from pathlib import Path
from burnish.errors import RunFolderError
from burnish.files import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(Path({str(path)!r}), bytes(1_000_000))
except RunFolderError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert f"cannot write {path}: File too large." in done.stdout
    assert path.read_bytes() == b"before"
    assert names_in(tmp_path) == ["result.bin"]


def test_a_folder_can_be_flushed(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    content = {"name": "Küche", "rate": 0.1 + 0.2, "none": None, "list": [1, True, {"a": -1e-300}]}
    write_json(path, content)
    assert read_json(path) == content


def test_json_is_written_for_people_too(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"name": "Küche", "n": 1})
    text = path.read_text(encoding="utf-8")
    digest = json.loads(text)["digest"]
    assert text == f'{{\n  "name": "Küche",\n  "n": 1,\n  "digest": "{digest}"\n}}\n'


def test_a_flipped_bit_anywhere_in_a_json_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"loss": 0.25, "name": "Küche"})
    for damaged in every_damage(path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(DamageError, match=r"result\.json"):
            read_json(path)


def test_what_an_older_burnish_wrote_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"loss": 0.25}\n', encoding="utf-8")
    with pytest.raises(DamageError, match=r"result\.json has no digest: an older burnish wrote"):
        read_json(path)
    path.write_bytes(b"[study]\n")
    with pytest.raises(DamageError, match=r"no digest in its last line: an older burnish wrote"):
        read_sealed(path)


def test_a_name_that_is_no_text_comes_back(tmp_path: Path) -> None:
    content = {"command": "burnish run x --out a\udcffb"}
    write_json(tmp_path / "provenance.json", content)
    assert read_json(tmp_path / "provenance.json") == content


@pytest.mark.parametrize("content", [b"", b"[study]\n", bytes(range(256))])
def test_a_flipped_bit_anywhere_in_a_sealed_file_is_found(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.toml"
    write_sealed(path, content)
    assert read_sealed(path) == content
    assert path.read_bytes().startswith(content)
    for damaged in every_damage(path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(DamageError, match=r"study\.toml"):
            read_sealed(path)


def every_damage(content: bytes) -> Iterator[bytes]:
    """Every bit flipped, and every cut."""
    for place, byte in enumerate(content):
        for bit in range(8):
            yield content[:place] + bytes([byte ^ 1 << bit]) + content[place + 1 :]
        yield content[:place]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_word_for_what_is_not_finite(tmp_path: Path, value: float) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": value})
    assert read_json(path) == {"loss": 1.0}


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"result\.json is missing: is .* a run folder"):
        read_json(tmp_path / "result.json")


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe{}", b"{'a': 1}"])
def test_a_damaged_json_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"result\.json cannot be read as JSON"):
        read_json(path)


def test_json_that_is_not_an_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"result\.json holds a list, not a JSON object"):
        read_json(path)


def test_the_cache_folder_follows_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.name == "nt":
        pytest.skip("the XDG variables do not count on Windows")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert find_cache_folder() == Path("/somewhere/burnish")
    monkeypatch.setenv("HOME", "/home/user")
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert find_cache_folder() == Path("/home/user/.cache/burnish")
