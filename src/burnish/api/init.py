"""What ``burnish init`` writes: a study file for images, or a script with the same study."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from burnish.api.reading import ReadingKeywords, list_given
from burnish.api.script import write_script
from burnish.errors import StudyError


def write_for_images(
    data: Path,
    *,
    out: Path | None = None,
    as_python: bool = False,
    **reading: Unpack[ReadingKeywords],
) -> Path:
    """Write a study that suits images, and return the file.

    Parameters
    ----------
    data
        A folder of labelled images, or a file that lists or holds them.
    out
        The file; by default the data's name with ``.toml`` or ``.py``, in the working directory.
    as_python
        Write a script that runs the study.
    reading
        How images are read; see `burnish.run`.

    Raises
    ------
    DataError
        If the images cannot be used.
    StudyError
        If the file exists already.
    """
    from burnish.files import write_whole
    from burnish.study.init import compose_study, init_study, name_study

    given = list_given(reading)
    if not as_python:
        return init_study(data, out, **given)
    out = out or Path(f"{name_study(data.absolute())}.py")
    if out.exists():
        raise StudyError(f"{out} exists already: give another name with --out, or move it away")
    write_whole(out, write_script(compose_study(data, out, **given), out.name).encode())
    return out
