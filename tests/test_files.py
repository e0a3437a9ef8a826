from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from burnish.errors import DamageError, RunFolderError, SetupError
from burnish.files import (
    explain_refusal,
    find_cache_folder,
    flush_all,
    make_folder,
    move_folder,
    read_json,
    read_sealed,
    remove_leftovers,
    sync_folder,
    write_json,
    write_sealed,
    write_whole,
    written_whole,
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


def write_as_libraries_fail(path: Path, *, wraps: bool) -> None:
    """They wrap the system's error, or fail again while they clean up after it."""
    with written_whole(path, ".keras") as temporary:
        assert temporary.suffix == ".keras"
        temporary.write_bytes(b"half")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RuntimeError("cannot close") from (error if wraps else None)


@pytest.mark.parametrize("wraps", [True, False])
def test_the_systems_error_behind_that_of_a_library_is_what_is_told(
    tmp_path: Path, wraps: bool
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"before")
    with pytest.raises(RunFolderError, match=r"cannot write .*model\.keras: No space left"):
        write_as_libraries_fail(path, wraps=wraps)
    assert path.read_bytes() == b"before"
    assert names_in(tmp_path) == ["model.keras"]


def test_a_mistake_in_the_code_is_not_told_as_one_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "a" / "b.bin"):
        _ = 1 / 0
    assert names_in(tmp_path / "a") == []
    assert explain_refusal(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None


def test_what_a_disk_refuses_is_told_with_its_place_and_the_mend(tmp_path: Path) -> None:
    refused = OSError(errno.EROFS, "Read-only file system", str(tmp_path / "x"))
    told = explain_refusal(refused)
    assert told is not None
    assert told.startswith(f"Read-only file system: {tmp_path / 'x'}. Nothing recorded is lost")
    assert str(tmp_path) in str(explain_refusal(OSError(errno.EIO, "I/O error"), tmp_path))


def test_folders_are_made_where_they_are_missing(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="File exists"):
        make_folder(tmp_path / "file" / "below")


def test_a_folder_moves_with_all_that_is_in_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "old" / "sub" / "file", b"content")
    flush_all(tmp_path / "old")
    move_folder(tmp_path / "old", tmp_path / "above" / "new")
    assert (tmp_path / "above" / "new" / "sub" / "file").read_bytes() == b"content"
    assert names_in(tmp_path) == ["above"]


def test_what_killed_processes_had_begun_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        dead, alive, own = ended.pid, running.pid, os.getpid()
        begun = (f".result.json.{dead}.tmp", f"a/.model.keras.{dead}.tmp.keras", f".x.{own}.tmp")
        kept = (f".result.json.{alive}.tmp", "a/result.json", ".owner.json", ".notes.tmp", "1.tmp")
        for name in (*begun, *kept, f"a/.model.onnx.{dead}.export/model.onnx"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        remove_leftovers(tmp_path)
        left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
        assert left == set(kept)
        assert not (tmp_path / f"a/.model.onnx.{dead}.export").exists()
        running.communicate(b"\n")


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


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number that no list of users has."""
    pwd = pytest.importorskip("pwd")

    def find_nobody(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", find_nobody)
    for home in (None, "relative"):
        monkeypatch.delenv("HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("HOME", home)
        for cache in ("", "relative/path"):
            monkeypatch.setenv("XDG_CACHE_HOME", cache)
            with pytest.raises(SetupError, match="Set XDG_CACHE_HOME to the absolute path of a"):
                find_cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert find_cache_folder() == Path("/somewhere/burnish")
