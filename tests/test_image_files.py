"""Which files of a folder are images, and what a file is by its first bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from burnish import image_files
from burnish.errors import DataError
from burnish.image_files import explain_kind, is_image_name, list_folder, name_kind, walk_folders


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_a_folder_is_listed_by_what_its_files_are_called(tmp_path: Path) -> None:
    names = ("b.JPG", "a.jfif", "c.jpe", "IMG_1.HEIC", "d.avif", "e.jxl", "notes.txt", "raw")
    hidden = (".hidden.png", ".ipynb_checkpoints/a.png", "Thumbs.db", "__MACOSX/a.png")
    fill(tmp_path, *names, *hidden, "inner/a.png")
    contents = list_folder(tmp_path)
    assert contents.images == ("IMG_1.HEIC", "a.jfif", "b.JPG", "c.jpe", "d.avif", "e.jxl")
    assert contents.others == ("notes.txt", "raw")
    assert contents.folders == ("inner",)
    assert set(contents.status) == {*contents.images, *contents.others}
    assert not contents.refused
    assert not contents.odd


def test_links_lead_to_files_within_the_folder_alone(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "in/a.png")
    fill(tmp_path, "out.png")
    try:
        (root / "good.png").symlink_to(root / "in" / "a.png")
    except OSError:
        pytest.skip("this system does not let links be made")
    (root / "out.png").symlink_to(tmp_path / "out.png")
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "again").symlink_to(root / "in")
    (root / "loop").symlink_to(root)
    contents = list_folder(root)
    assert contents.images == ("good.png",)
    assert contents.folders == ("in",)
    assert contents.refused == {
        "out.png": f"is a link that leaves {root}",
        "gone.png": "is a link to a file that is not there",
        "again": "is a link to another folder; its images would be twice",
        "loop": "is a link to another folder; its images would be twice",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert list_folder(tmp_path).odd == ("a.png",)


def test_folders_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a/b/c/1.png", "d/1.png")
    assert {folder for folder, _ in walk_folders(tmp_path)} == {"", "a", "a/b", "a/b/c", "d"}
    monkeypatch.setattr(image_files, "MAX_FOLDERS", 4)
    with pytest.raises(DataError, match=r"more folders below it than are gone into \(4\)"):
        list(walk_folders(tmp_path))
    monkeypatch.setattr(image_files, "MAX_DEPTH", 2)
    monkeypatch.setattr(image_files, "MAX_FOLDERS", 99)
    with pytest.raises(DataError, match=r"2 within each other"):
        list(walk_folders(tmp_path))
    with pytest.raises(DataError, match="cannot be read"):
        list_folder(tmp_path, "none")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n...", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"RIFF....WEBPVP8 ", "WebP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", "HEIF"),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1miafavif", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", "a video (MP4)"),
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (bytes(128) + b"DICM\2\0", "DICOM"),
        (b"P6\n12 12\n255\n", "Netpbm (PPM, PGM, PBM)"),
        (b"\0\0\x01\0\1\0", "an icon (ICO)"),
        (b"\x93NUMPY\1\0", "an array of NumPy"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "SVG"),
        (b'<?xml version="1.0"?>\n<annotation>', "XML"),
        (b"\n<!DOCTYPE HTML><html>", "a web page (HTML)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"PK\x03\x04", "a zip file"),
        (b"hello", None),
        (b"", None),
        (b"\0\0\0\x18ftyp", "a video (MP4)"),
    ],
)
def test_files_are_known_by_how_they_begin(content: bytes, kind: str | None) -> None:
    found = name_kind(content)
    assert (found or "").startswith(kind) if kind else found is None


def test_photographs_that_need_another_library_say_which() -> None:
    assert is_image_name("IMG_1.HEIC")
    assert "pip install pillow-heif" in explain_kind("HEIC")
    assert "save it as PNG or JPEG" in explain_kind("JPEG XL")
    assert explain_kind(None) == explain_kind("a zip file") == ""


def test_what_burnish_has_written_is_not_gone_into(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "sheets/1-a.png", "old/s/x/1.png", "new/s/x/1.png", "locked/1.png")
    fill(tmp_path, f"sheets/{image_files.OUTPUT_MARK}", "old/s/.lock", "old/s/provenance.json")
    fill(tmp_path, "new/s/.lock", "new/s/.owner.json", "locked/.lock")
    found = {folder: contents.outputs for folder, contents in walk_folders(tmp_path)}
    assert found == {"": ("sheets",), "a": (), "locked": (), "new": ("s",), "old": ("s",)}
