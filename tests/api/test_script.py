"""``burnish init --python``: the same study, as a script."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

import burnish
from burnish.cli import app
from burnish.errors import StudyError

from .studies import write_digits


@pytest.mark.parametrize("num", [60, 700])
def test_the_script_runs_the_study_that_init_writes(
    num: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few images begin with a pretrained network and may be many blocks more."""
    write_digits(here / 'odd "name"', num, 4)
    for words in (["--out", "photos.toml"], ["--python", "--out", "photos.py"]):
        result = CliRunner().invoke(app, ["init", 'odd "name"', *words])
        assert result.exit_code == 0, result.output
    asked: list[tuple[burnish.Study, float]] = []

    class Stop(Exception):  # noqa: N818
        pass

    def run(study: burnish.Study, minutes: float) -> None:
        asked.append((study, minutes))
        raise Stop

    monkeypatch.setattr(burnish, "run", run)
    (here / "away").mkdir()
    monkeypatch.chdir(here / "away")  # Its paths count from the script.
    with pytest.raises(Stop):
        runpy.run_path(str(here / "photos.py"))
    study, minutes = asked[0]
    assert study == burnish.Study.from_toml(here / "photos.toml")
    assert minutes == 10
    script = (here / "photos.py").read_text(encoding="utf-8")
    assert '"seed": 42,  # another seed, another cut and other weights' in script
    assert "burnish run" not in script


def test_the_script_does_not_take_the_place_of_another(here: Path) -> None:
    write_digits(here / "photos", 20)
    first = CliRunner().invoke(app, ["init", "photos", "--python"])
    assert first.stdout == "photos.py: look it over, then: python photos.py\n"
    again = CliRunner().invoke(app, ["init", "photos", "--python"])
    assert isinstance(again.exception, StudyError)
    assert "photos.py exists already" in str(again.exception)
