from __future__ import annotations

from pathlib import Path

import pytest

from burnish.errors import RunFolderError
from burnish.files import write_json
from burnish.runfolder.store import RunFolder
from burnish.runner.data_place import describe_place, refuse_image_folder, refuse_other_data
from burnish.study.schema import DataSection


def images_at(path: Path) -> DataSection:
    return DataSection(path=str(path))


def begin(run: RunFolder, section: DataSection, fingerprint: str = "pets") -> None:
    """Leave what a run on these images leaves."""
    key, value = ("source", section.source) if section.source else ("path", section.path)
    run.write_study(f'[data]\n{key} = "{value}"\n')
    data = {"fingerprint": fingerprint, **describe_place(section, run)}
    write_json(run.path / "provenance.json", {"data": data})


def never() -> str:
    raise AssertionError("a place that is the same needs no fingerprint")


def test_images_that_have_changed_where_they_are_are_the_same(tmp_path: Path) -> None:
    run, section = RunFolder(tmp_path / "runs" / "images"), images_at(tmp_path / "pets" / "images")
    refuse_other_data(run, section, never)  # Nothing has begun.
    begin(run, section)
    refuse_other_data(run, section, never)
    (tmp_path / "link").symlink_to(tmp_path / "pets")
    refuse_other_data(run, images_at(tmp_path / "link" / "images"), never)
    source = RunFolder(tmp_path / "runs" / "digits")
    begin(source, DataSection(source="digits"))
    refuse_other_data(source, DataSection(source="digits"), never)


def test_other_images_of_the_same_name_are_refused_with_what_to_do(tmp_path: Path) -> None:
    run, cars = RunFolder(tmp_path / "runs" / "images"), images_at(tmp_path / "cars" / "images")
    begin(run, images_at(tmp_path / "pets" / "images"))
    before = sorted(run.path.rglob("*"))
    for other in (cars, DataSection(source="digits")):
        with pytest.raises(RunFolderError) as raised:
            refuse_other_data(run, other, lambda: "cars")
        assert f"({tmp_path}/pets/images)" in str(raised.value)
        assert f"({other.source or other.path})" in str(raised.value)
        assert "choose another folder with --out" in str(raised.value)
    assert sorted(run.path.rglob("*")) == before
    begin(run, DataSection(source="digits"))
    with pytest.raises(RunFolderError, match=r"on other images \(digits\)"):
        refuse_other_data(run, cars, lambda: "cars")


def test_a_run_that_moved_with_its_project_is_known(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "old" / "runs" / "images")
    begin(run, images_at(tmp_path / "old" / "images"))
    assert describe_place(images_at(tmp_path / "old" / "images"), run) == {
        "path": str(tmp_path / "old" / "images"),
        "path_from_run": "../../images",
    }
    (tmp_path / "old").rename(tmp_path / "new")
    moved = RunFolder(tmp_path / "new" / "runs" / "images")
    refuse_other_data(moved, images_at(tmp_path / "new" / "images"), never)


def test_images_of_the_same_content_are_the_same_wherever_they_are(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run, images_at(tmp_path / "pets"))
    refuse_other_data(run, images_at(tmp_path / "elsewhere"), lambda: "pets")


def test_a_damaged_folder_is_left_to_whoever_names_damage(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run, images_at(tmp_path / "pets"))
    (run.path / "provenance.json").write_text("{}", encoding="utf-8")
    refuse_other_data(run, images_at(tmp_path / "cars"), lambda: "cars")


def test_a_run_among_the_images_is_refused_unless_it_has_a_folder_of_its_own(
    tmp_path: Path,
) -> None:
    section = images_at(tmp_path)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "1.jpg").touch()
    for folder in (".", "train", "train/cat"):
        with pytest.raises(RunFolderError, match="needs a folder of its own"):
            refuse_image_folder(RunFolder(tmp_path / folder), section)
    for folder in ("runs/images", "train/new", "../elsewhere"):
        refuse_image_folder(RunFolder(tmp_path / folder), section)
    refuse_image_folder(RunFolder(tmp_path), DataSection(source="digits"))


def test_a_run_that_did_not_begin_leaves_no_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "within" / "images")
    with run.lock():
        assert run.path.is_dir()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    with run.lock():
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]
