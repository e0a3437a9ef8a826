"""A study as Python programs hold it: checked, and not to be changed but by making another."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from burnish.api.reading import ReadingKeywords, list_given
from burnish.api.source import StudyText, Values, are_images, find_study, list_values
from burnish.errors import StudyError


class Study:
    """A study: its data, and the stages by which a model of them is found.

    >>> study = Study.from_toml("digits")
    >>> study
    Study('digits', 7 stages: fnn, fnn-tuned, cnn, cnn-tuned, augmented, learning-rate, final)
    >>> study.with_values({"cnn.params.learning_rate": 0.002}).name
    'digits'

    `from_toml`, `from_dict` and `of_images` make one, and refuse what cannot be used.
    """

    def __init__(self, text: StudyText) -> None:
        self._checked, self._text = text.check()

    @classmethod
    def from_toml(cls, source: str | os.PathLike[str]) -> Study:
        """Read a study that ships, by its name, or a study file, by its path.

        Raises
        ------
        StudyError
            If there is none, or it cannot be used.
        """
        if are_images(source):
            raise StudyError(
                f"{os.fspath(source)} holds images, where a study is expected: "
                "Study.of_images makes one for them"
            )
        return cls(find_study(source))

    @classmethod
    def from_dict(
        cls, content: Mapping[str, Any], folder: str | os.PathLike[str] | None = None
    ) -> Study:
        """Take a study as Python has it: the tables and keys of a study file.

        Parameters
        ----------
        content
            With ``study``, ``data``, ``training`` and, a list, ``stage``.
        folder
            What a relative path of the images counts from; by default the working directory.

        Raises
        ------
        StudyError
            If it cannot be used.
        """
        import tomli_w

        try:
            text = tomli_w.dumps(dict(content))
        except TypeError as error:
            raise StudyError(f"a study has text, numbers, lists and tables: {error}") from error
        return cls(StudyText(text, "the study", Path(folder) if folder is not None else Path.cwd()))

    @classmethod
    def of_images(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        verbose: bool = True,
        **reading: Unpack[ReadingKeywords],
    ) -> Study:
        """Make the study that suits images: what ``burnish init`` writes, without a file.

        Parameters
        ----------
        path
            A folder of labelled images, or a file that lists or holds them.
        name
            Of the study; by default that of the images.
        verbose
            Show on stderr how far decoding is.
        reading
            How images are read.

        Raises
        ------
        DataError
            If the images cannot be used.
        """
        from burnish.study.init import compose_study, name_study

        images = Path(path).absolute()
        file = images.with_name(f"{name or name_study(images)}.toml")
        text = compose_study(images, file, quiet=not verbose, **list_given(reading))
        return cls(StudyText(text, f"the study of {images}", file.parent))

    def with_values(self, values: Values) -> Study:
        """Return the same study with other values, as ``--set`` of the command line changes them.

        Parameters
        ----------
        values
            By key: ``stage.key`` of the stage of that name, or ``table.key`` of ``study``, ``data``
            or ``training``; further dots go into inner tables.

        Raises
        ------
        StudyError
            If there is no such stage or key, or the value cannot be used.
        """
        where = f"the study '{self.name}'"
        return Study(StudyText(self._text, where, None, list_values(values)))

    def with_images(
        self,
        path: str | os.PathLike[str],
        *,
        verbose: bool = True,
        **reading: Unpack[ReadingKeywords],
    ) -> Study:
        """Return the same stages for other images; how these are cut and read is chosen anew.

        Parameters
        ----------
        path, verbose, reading
            As for `of_images`.

        Raises
        ------
        DataError
            If the images cannot be used.
        StudyError
            If the stages do not suit them.
        """
        content = self.as_dict()
        content["data"] = Study.of_images(path, verbose=verbose, **reading).as_dict()["data"]
        return Study.from_dict(content)

    @property
    def name(self) -> str:
        """Name of the study, by which its run folder is called."""
        return self._checked.name

    @property
    def seed(self) -> int:
        """Seed that every random choice derives from."""
        return self._checked.seed

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of its stages, in their order."""
        return tuple(stage.name for stage in self._checked.stages)

    @property
    def text(self) -> str:
        """The study as TOML."""
        return self._text

    def as_dict(self) -> dict[str, Any]:
        """Return its tables and keys, as a study file has them."""
        return tomllib.loads(self._text)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write it as a study file; ``burnish run`` takes that.

        Raises
        ------
        StudyError
            If the file exists already.
        """
        from burnish.files import write_whole

        file = Path(path)
        if file.exists():
            raise StudyError(f"{file} exists already: give another name, or move it away")
        write_whole(file, self._text.encode())
        return file

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Study) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        stages = ", ".join(self.stages)
        return f"Study({self.name!r}, {len(self.stages)} stages: {stages})"
