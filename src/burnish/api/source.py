"""What is to be run: a study that ships, a study file, a `Study`, or images that need one."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from burnish.api.reading import ReadingKeywords, list_given
from burnish.errors import DataError, StudyError
from burnish.study.text import (
    find_name,
    quote,
    read_study_text,
    shipped_studies,
    write_override,
)

if TYPE_CHECKING:  # To check a study, Keras must be loaded.
    from burnish.api.study import Study
    from burnish.study.study import Study as CheckedStudy

Source: TypeAlias = "str | os.PathLike[str] | Study"
"""A study that ships, by its name; a study file; a `Study`; a folder or file of images."""

Values: TypeAlias = Mapping[str, Any] | Sequence[str] | None
"""Values of a study to change: by key, or as ``key=value``, as ``--set`` takes them."""

MINUTES_FOR_IMAGES = 10.0
"""Minutes for images that come without a study, unless others are given."""


@dataclass(frozen=True)
class StudyText:
    """A study that was found and is not checked yet.

    Attributes
    ----------
    text, where
        TOML, and where it comes from, for messages.
    folder
        What paths in it count from; ``None`` where they need not.
    values
        What is changed in it, as ``key=value``.
    images_file
        Where the study of images without one belongs; ``None`` of any other.
    """

    text: str
    where: str
    folder: Path | None
    values: Sequence[str] = ()
    images_file: Path | None = None

    def name(self) -> str:
        """Return the study's name; a study without a good one is checked, and refused."""
        return find_name(self.text, self.values) or self.check()[0].name

    def check(self) -> tuple[CheckedStudy, str]:
        """Return the study, checked, and its text with the values in it.

        Raises
        ------
        StudyError
            If it cannot be used.
        """
        from burnish.study.parse import parse_study

        return parse_study(self.text, self.where, self.values, self.folder)


def list_values(values: Values) -> list[str]:
    """Return values of a study to change as ``key=value``."""
    if isinstance(values, Mapping):
        return [write_override(key, value) for key, value in values.items()]
    return list(values or ())


def are_images(source: Source) -> bool:
    """Whether a source is a folder or file of images, and no study.

    Raises
    ------
    StudyError
        If it is a run folder.
    """
    if not isinstance(source, str | os.PathLike) or source in shipped_studies():
        return False
    path = Path(source)
    try:
        if path.is_dir():
            _refuse_run_folder(path)
            return True
        return path.suffix != ".toml" and path.is_file() and _has_format(path)
    except (OSError, ValueError):  # No path is called so; whoever reads the study says it.
        return False


def _has_format(path: Path) -> bool:
    from burnish.data.formats.read import find_format
    from burnish.data.formats.zipped import is_archive

    try:
        return is_archive(path) or bool(find_format(path))
    except DataError:
        return False


def _refuse_run_folder(path: Path) -> None:
    if (path / "study.toml").is_file() and (path / "state.json").is_file():
        raise StudyError(
            f"{path} is a run folder. To go on with its run, give {path / 'study.toml'}, and "
            f"{path} with out (--out); burnish.open('{path}') reads it"
        )


def find_study(
    source: Source,
    out: Path | None = None,
    values: Values = None,
    quiet: bool = False,
    **reading: Unpack[ReadingKeywords],
) -> StudyText:
    """Find a study, or write the text of one for images; no file is written.

    Parameters
    ----------
    source
        See `Source`.
    out
        The run folder, beside which the study of images belongs: ``runs/photos.toml`` beside
        ``runs/photos``. One that is there already is taken as it is.
    values, reading
        What is changed in the study, and how images are read.
    quiet
        Do not show how far decoding is.

    Raises
    ------
    StudyError
        If there is no such study, or there is one of other images where theirs belongs.
    DataError
        If the images cannot be used.
    """
    changed = list_values(values)
    if are_images(source):
        assert isinstance(source, str | os.PathLike)
        return _study_images(Path(source), out, changed, quiet=quiet, **reading)
    given = list_given(reading)
    if given:
        raise StudyError(
            f"{next(iter(given))} says how images are read, and a study was given: its table "
            "[data] says that"
        )
    if not isinstance(source, str | os.PathLike):
        return StudyText(source.text, f"the study '{source.name}'", None, changed)
    name = os.fspath(source)
    text, where = read_study_text(name)
    return StudyText(text, where, None if name in shipped_studies() else Path(name).parent, changed)


def choose_folder(source: Source, out: Path | None) -> Path | None:
    """Return the run folder, as given or named after images; ``None``: the study's name says it."""
    if out is not None or not are_images(source):
        return out
    from burnish.study.init import name_study

    assert isinstance(source, str | os.PathLike)
    return Path("runs") / name_study(Path(source).absolute())


def _study_images(
    path: Path,
    out: Path | None,
    values: Sequence[str],
    *,
    quiet: bool,
    **reading: Unpack[ReadingKeywords],
) -> StudyText:
    from burnish.study.init import compose_study

    folder = choose_folder(path, out)
    assert folder is not None
    file = folder.with_name(f"{folder.name}.toml")
    given = list_given(reading)
    if file.exists():
        text, where = read_study_text(str(file))
        _refuse_other_images(text, file, path, given)
    else:
        text, where = compose_study(path, file, quiet=quiet, **given), str(file)
    return StudyText(text, where, file.parent, values, file)


def _refuse_other_images(text: str, file: Path, path: Path, given: Mapping[str, Any]) -> None:
    """Refuse a study file where that of other images stands, or of these, read otherwise."""
    try:
        data = tomllib.loads(text)["data"]
        there = (file.parent / Path(data["path"]).expanduser()).resolve()
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise StudyError(
            f"{file} stands where the study of {path} belongs, and names no images: move it away, "
            "or give another run folder with out (--out)"
        ) from error
    if there != path.resolve():
        raise StudyError(
            f"{file} is the study of other images, {there}: give another run folder with out "
            "(--out), or move it away"
        )
    for key, value in given.items():
        asked: Any = (
            value if isinstance(value, str | int) else list(value) if key == "range" else None
        )
        found = data.get(key)
        if key == "image_root":
            asked = value.resolve()
            found = found and (file.parent / found).resolve()
        if found != asked:
            raise StudyError(
                f"{file} is the study of {path}, and has {key} = {quote(str(found))}, not "
                f"{quote(str(asked))}: change it there, or move the file away"
            )
