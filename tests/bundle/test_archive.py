"""A bundle to a zip file and back; and zip files that nobody should unpack."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.bundle import archive as module
from burnish.bundle import read_contract
from burnish.bundle.archive import pack, unpack
from burnish.errors import BundleError, RunFolderError
from burnish.runfolder.store import RunFolder


@pytest.fixture
def packed(run: RunFolder, tmp_path: Path) -> Path:
    pack(run.model, tmp_path / "tiny.zip")
    return tmp_path / "tiny.zip"


def rewrite(
    packed: Path, change: Callable[[dict[str, bytes], zipfile.ZipFile], None], method: int = 0
) -> Path:
    """Write the archive anew; ``change`` may alter its members, and add some by hand."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    other = packed.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as archive:
        change(members, archive)
        for name, content in members.items():
            archive.writestr(name, content, method)
    return other


def refuse(source: Path, told: str) -> None:
    """Assert that unpacking fails with a message, and leaves nothing behind."""
    folder = source.parent / "unpacked"
    before = set(source.parent.rglob("*"))
    with pytest.raises(BundleError) as caught:
        unpack(source, folder)
    assert told in str(caught.value)
    assert str(source) in str(caught.value)
    assert set(source.parent.rglob("*")) == before


def test_a_bundle_comes_back_from_a_zip_file_as_it_was(run: RunFolder, packed: Path) -> None:
    folder = packed.parent / "deep" / "er"
    unpack(packed, folder)
    files = {path.name: path.read_bytes() for path in run.model.iterdir()}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert read_contract(folder) == read_contract(run.model)
    assert packed.stat().st_size < sum(map(len, files.values()))


def test_the_same_bundle_gives_the_same_bytes(run: RunFolder, packed: Path) -> None:
    (run.model / "README.md").touch()
    pack(run.model, packed.with_name("again.zip"))
    assert packed.with_name("again.zip").read_bytes() == packed.read_bytes()


def test_a_damaged_bundle_is_not_packed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "README.md").write_text("other")
    with pytest.raises(BundleError, match=r"README\.md has changed"):
        pack(bundle, tmp_path / "tiny.zip")
    assert not (tmp_path / "tiny.zip").exists()


def test_files_beside_a_bundle_are_not_packed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "secret.txt").write_text("mine")
    pack(bundle, tmp_path / "tiny.zip")
    with zipfile.ZipFile(tmp_path / "tiny.zip") as archive:
        assert "secret.txt" not in archive.namelist()


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "/tmp/escaped",
        "folder/escaped",
        "folder/",
        "..",
        ".hidden",
        "C:escaped",
        "..\\escaped",
        "nul\x00byte",
        "",
        "sp ace",
        "a" * 101,
        "NUL",
        "con.json",
        "Lpt1.onnx",
        "model.onnx.",
    ],
)
def test_a_member_with_another_name_than_a_plain_one_is_refused(packed: Path, name: str) -> None:
    def add(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        archive.writestr(entry, b"x")

    refuse(rewrite(packed, add), "a member is called ")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_special_files_are_refused(packed: Path, kind: int) -> None:
    def link(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo("passwd")
        entry.external_attr = (kind | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")

    refuse(rewrite(packed, link), "passwd is a link or a special file")


def test_a_member_that_is_there_twice_is_refused(packed: Path) -> None:
    def double(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        archive.writestr("readme.MD", b"x")

    refuse(rewrite(packed, double), "there are two members ")


def test_an_encrypted_member_is_refused(packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # The flag in the central directory.
    packed.write_bytes(content)
    refuse(packed, "is encrypted")


def test_too_many_members_are_refused(packed: Path) -> None:
    def many(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        for place in range(module.MAX_MEMBERS):
            archive.writestr(f"file{place}", b"")

    refuse(rewrite(packed, many), "members; a bundle has at most 32")


def test_a_bomb_is_stopped_while_it_is_read(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blow_up(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        members["contract.json"] = bytes(8 * 2**20)

    bomb = rewrite(packed, blow_up, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**20
    refuse(bomb, "contract.json is too large: at most 1,048,576 bytes")
    monkeypatch.setattr(module, "MAX_TOTAL_BYTES", 1000)
    refuse(packed, "1,000 of the whole archive")


def test_a_bomb_is_refused_by_what_it_gives_for_each_of_its_bytes(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blow_up(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        members["model.onnx"] = bytes(3 * 2**20)

    monkeypatch.setattr(module, "HARMLESS", 2**20)
    bomb = rewrite(packed, blow_up, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(module, "MAX_RATIO", 3 * 2**20 // bomb.stat().st_size)
    refuse(bomb, "model.onnx is too large")


def test_members_that_share_bytes_are_refused(packed: Path) -> None:
    """The entries of two members lead to one place, so that a bomb counts twice."""
    with zipfile.ZipFile(packed) as archive:
        start = archive.start_dir
    content = packed.read_bytes()
    tail = content.rindex(b"PK\x05\x06")
    entry = content[start : content.index(b"PK\x01\x02", start + 4)]
    assert entry.endswith(b"contract.json")
    again = entry.replace(b"contract.json", b"contract.copy")
    end = bytearray(content[tail:])
    for place, size, more in ((8, 2, 1), (10, 2, 1), (12, 4, len(again))):
        value = int.from_bytes(end[place : place + size], "little") + more
        end[place : place + size] = value.to_bytes(size, "little")
    packed.write_bytes(content[:tail] + again + end)
    refuse(packed, "lies within")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused_unopened(packed: Path, method: int) -> None:
    refuse(rewrite(packed, lambda members, archive: None, method), "in another way")


def test_names_that_are_no_text_are_refused(packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 9] |= 0x08  # The name is said to be UTF-8 ...
    content[place + 46] = 0xFF  # ... and is not.
    packed.write_bytes(content)
    refuse(packed, "cannot be read as a zip file")


def test_a_header_that_lies_about_a_size_does_not_help(packed: Path) -> None:
    def blow_up(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        members["contract.json"] = bytes(8 * 2**20)

    bomb = rewrite(packed, blow_up, zipfile.ZIP_DEFLATED)
    size = (8 * 2**20).to_bytes(4, "little")
    bomb.write_bytes(bomb.read_bytes().replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(BundleError, match=r"cannot be read as a zip file|too large"):
        unpack(bomb, packed.parent / "unpacked")
    assert not (packed.parent / "unpacked").exists()


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -30, -2000])
def test_a_file_that_is_cut_off_or_none_is_refused(packed: Path, cut: int) -> None:
    packed.write_bytes(packed.read_bytes()[:cut])
    refuse(packed, "cannot be read as a zip file")


def test_damage_within_is_refused(packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 0xFF
    packed.write_bytes(content)
    refuse(packed, "")


def test_members_that_are_missing_or_changed_are_named(packed: Path) -> None:
    def forget(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        del members["model.onnx"]

    def change(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        members["model.onnx"] += b" "

    def forget_contract(members: dict[str, bytes], archive: zipfile.ZipFile) -> None:
        del members["contract.json"]

    refuse(rewrite(packed, forget), "model.onnx is missing")
    refuse(rewrite(packed, change), "model.onnx has changed")
    refuse(rewrite(packed, forget_contract), "it has no contract.json")


def test_an_archive_of_something_else_is_no_bundle(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes.txt", b"hello")
    (tmp_path / "notes.zip").write_bytes(buffer.getvalue())
    refuse(tmp_path / "notes.zip", "is not a bundle: it has no contract.json")


def test_what_is_there_is_not_overwritten(packed: Path) -> None:
    folder = packed.parent / "there"
    folder.mkdir()
    with pytest.raises(BundleError, match="is there already"):
        unpack(packed, folder)
    (packed.parent / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be unpacked"):
        unpack(packed, packed.parent / "file" / "folder")
