"""Zip files with data sets in them, and those that nobody should unpack."""

from __future__ import annotations

import dataclasses
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from burnish.data.formats import read_listing
from burnish.data.formats.zipped import place_member
from burnish.data.load import load_images
from burnish.errors import ArchiveError, DataError

from .made import make, png, write_every_format, write_folder
from .test_formats import SPLITS, check_same


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "burnish" / "unpacked"


def pack(target: Path, root: Path, top: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, f"{top}{path.relative_to(root).as_posix()}")
    return target


@pytest.mark.parametrize("top", ["", "photos/", "a/b/"])
@pytest.mark.parametrize("name", ["folder", "csv", "npz", "idx", "parquet"])
def test_every_format_is_read_from_a_zip_file(tmp_path: Path, name: str, top: str) -> None:
    made = dataclasses.replace(make(), splits=SPLITS)
    path = write_every_format(tmp_path / "made", made)[name]
    source = pack(tmp_path / "My photos.zip", path if path.is_dir() else path.parent, top)
    listing = read_listing(source)
    check_same(listing, made)
    assert (listing.format, listing.name) == (name, "My photos")
    assert not listing.problems
    assert not listing.suspicious
    assert "was unpacked into the cache and read" in listing.notes[0]
    check_same(read_listing(source, name), made)


def test_it_is_unpacked_once_and_decoded_once(tmp_path: Path, cache: Path) -> None:
    source = pack(tmp_path / "a.zip", write_folder(tmp_path / "made", make()))
    first = load_images(source)
    (entry,) = [path for path in cache.iterdir() if path.is_dir()]
    times = {path: path.stat().st_mtime_ns for path in entry.rglob("*")}

    def refuse(*step: int) -> None:
        raise AssertionError("decoded again")

    load_images(source, on_progress=refuse)
    assert {path: path.stat().st_mtime_ns for path in entry.rglob("*")} == times
    shutil.rmtree(entry)  # Unpacked anew, it is the same data set.
    again = load_images(source, on_progress=refuse)
    assert (again.train.images == first.train.images).all()
    pack(source, write_folder(tmp_path / "other", make(12)))
    assert len(load_images(source).train) == 12


def test_what_systems_add_is_ignored(tmp_path: Path, cache: Path) -> None:
    source = pack(tmp_path / "a.zip", write_folder(tmp_path / "made", make()), "photos/")
    with zipfile.ZipFile(source, "a") as archive:
        for name in ("__MACOSX/photos/0/._0.png", "photos/.DS_Store", "photos/0/Thumbs.db"):
            archive.writestr(name, b"x")
    check_same(read_listing(source), make())
    assert not list(cache.rglob("*DS_Store"))


def test_settings_reach_what_is_in_it(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "made" / "deep", make())
    (made / "0" / "inner").mkdir()
    (made / "0" / "0.png").rename(made / "0" / "inner" / "0.png")
    source = pack(tmp_path / "a.zip", made)
    assert read_listing(source).class_names == ("0", "1", "2")
    assert read_listing(source, labels="deepest").class_names == ("0", "0/inner", "1", "2")
    with pytest.raises(DataError, match=r"labels = 'top': format 'npz' has no use for it"):
        read_listing(source, "npz", labels="top")
    with pytest.raises(DataError, match=r"^a?.*a\.zip: has no IDX pair"):
        read_listing(source, "idx")


def test_a_table_beside_class_folders(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "made", make())
    (made / "about.csv").write_text("x,y\n1,2\n")
    listing = read_listing(pack(tmp_path / "a.zip", made))
    assert listing.format == "folder"
    assert listing.suspicious[0].startswith("about.csv: is a table")


@pytest.mark.parametrize(
    "name",
    ["../x.png", "/tmp/x.png", "a/../../x.png", "C:\\x.png", "..\\x.png", "a\x1b[2J.png"],
)
def test_a_member_that_leads_elsewhere_is_refused(tmp_path: Path, cache: Path, name: str) -> None:
    source = pack(tmp_path / "a.zip", write_folder(tmp_path / "made", make(6)))
    with zipfile.ZipFile(source, "a") as archive:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        archive.writestr(entry, b"x")
    with pytest.raises(DataError, match="a member is called"):
        read_listing(source)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO])
def test_links_are_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("cat/1.png")
        entry.external_attr = (kind | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match=r"cat/1\.png is a link or a special file"):
        read_listing(tmp_path / "a.zip")


def test_bombs_doubles_and_a_full_disk_are_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.bmp", bytes(20 * 2**20))
    with pytest.raises(DataError, match=r"cat/1\.bmp is too large: .*16,777,216 of the whole"):
        read_listing(source)
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("cat/1.png", b"x")
        archive.writestr("./cat/1.png", b"y")
    with pytest.raises(DataError, match=r"there are two members \./cat/1\.png"):
        read_listing(source)
    pack(source, write_folder(tmp_path / "made", make()))
    free = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(DataError, match="has room for 100; make room, or set XDG_CACHE_HOME"):
        read_listing(source)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_what_is_no_zip_file_and_what_holds_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"a\.zip cannot be read as a zip file"):
        read_listing(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("x/notes.txt", b"x")
        archive.writestr("x/more.txt", b"x")
    with pytest.raises(DataError, match=r"b\.zip/x: has no images, only more\.txt; notes\.txt"):
        read_listing(tmp_path / "b.zip")
    (tmp_path / "a.tar").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"is an archive that is not read; unpack it .*\.zip"):
        read_listing(tmp_path / "a.tar")


def test_names_that_apple_writes_are_utf8(tmp_path: Path) -> None:
    """Its archiver does not set the flag that says so."""
    source = tmp_path / "a.zip"
    images = make(6).images
    with zipfile.ZipFile(source, "w") as archive:
        for number, image in enumerate(images):
            archive.writestr(f"{'caf#' if number % 2 else 'tea#'}/{number}.png", png(image))
    source.write_bytes(source.read_bytes().replace(b"caf#", b"c\xc3\xa9#"))
    assert read_listing(source).class_names == ("c\u00e9#", "tea#")


def test_places_of_members() -> None:
    assert place_member("a\\b.png") == place_member("./a//b.png") == "a/b.png"
    assert place_member("a/b/") == "a/b"
    assert place_member("./") is None
    for name in ("a" * 256, "/".join("a" * 40)):
        with pytest.raises(ArchiveError, match="names of at most"):
            place_member(name)
