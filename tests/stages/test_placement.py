from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from burnish import cli
from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.files import write_json
from burnish.runfolder.store import RunFolder
from burnish.stages.fit_requests import fingerprint_stage
from burnish.stages.placement import describe_machine
from burnish.study.parse import parse_study
from burnish.study.schema import TuneStage
from burnish.study.study import Study
from burnish.terminal import tabulate_status
from burnish.tuning.executor import Resources

STUDY = """
[study]
name = "placed"

[data]
source = "digits"
split = { train = 300, val = 100, test = 100 }

[[stage]]
name = "tuned"
kind = "tune"
model = "fnn"
trials = 4
[stage.space]
hidden_layer_size = [8, 16, 32]

[[stage]]
name = "final"
kind = "final"
"""


def parse(*overrides: str) -> Study:
    return parse_study(STUDY, "the test's study", overrides)[0]


def tuned(study: Study) -> TuneStage:
    stage = study.stage("tuned")
    assert isinstance(stage, TuneStage)
    return stage


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), Resources(cpus=1, gpus=0, memory=0)),
        (("cpus=4", "gpus=1"), Resources(cpus=4, gpus=1)),
        (("gpus=0.25", "memory='2GB'"), Resources(gpus=0.25, memory=2_000_000_000)),
        (("memory='1.5 GB'",), Resources(memory=1_500_000_000)),
        (("memory='500MB'",), Resources(memory=500_000_000)),
    ],
)
def test_resources_of_a_stage(settings: Sequence[str], expected: Resources) -> None:
    study = parse(*(f"tuned.resources.{setting}" for setting in settings))
    assert tuned(study).resources.resources() == expected


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("cpus=0", r"resources.cpus = 0: expected a number greater than or equal to 1"),
        ("cpus=1.5", r"resources.cpus = 1.5: expected a whole number"),
        ("gpus=1.5", r"gpus = 1.5: expected a share of one GPU, or a whole number of them"),
        ("gpus=-1", r"gpus = -1: expected a number greater than or equal to 0"),
        ("memory=2", r"memory = 2: expected text in quotes"),
        ("memory='2'", r"memory = '2': expected a size in quotes, such as '2GB' or '500MB'"),
        ("memory='2PB'", r"memory = '2PB': expected a size in quotes"),
        ("cpu=2", r"unknown key 'cpu'; did you mean 'cpus'\? There are: cpus, gpus, memory"),
    ],
)
def test_resources_that_are_wrong(setting: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        parse(f"tuned.resources.{setting}")


def test_resources_say_where_a_fit_runs_and_not_what_it_is(digits: Dataset) -> None:
    def fingerprint(study: Study, workers: int = 2) -> str:
        return fingerprint_stage(study, tuned(study), {}, digits, workers)

    plain = fingerprint(parse())
    assert fingerprint(parse("tuned.resources.cpus=2", "tuned.resources.memory='1GB'")) == plain
    assert fingerprint(parse("tuned.trials=2")) != plain
    assert fingerprint(parse(), workers=3) != plain


def test_what_a_fits_bits_depend_on_is_named() -> None:
    facts = describe_machine()
    assert facts == describe_machine()
    assert {"the code of burnish", "keras", "tensorflow", "processor"} <= set(facts)
    assert all(facts.values())


@pytest.mark.parametrize(
    "words", [["--address", "auto"], ["--checkpoints", "shared"], ["--address", "ray://a:10001"]]
)
def test_options_of_a_cluster_need_the_executor(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["burnish", "run", "digits", *words])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 2
    assert f"error: {words[0]} belongs to a cluster: add --executor ray" in capsys.readouterr().err


def test_status_shows_where_trials_run(tmp_path: Path) -> None:
    from burnish.runfolder.status import describe_run

    run = RunFolder(tmp_path)
    run.write_study(STUDY)
    fit = {"fit": "7/1/0", "attempt": 2, "node": "far (10.0.0.3, node ab12cd)", "pid": 123}
    fit["since"] = "2026-01-01T00:00:00Z"
    state = {"study": "placed", "state": "running", "stage": "tuned", "error": None, "seconds": 1.0}
    with run.lock():
        write_json(tmp_path / "state.json", state)
        assert describe_run(run)["stages"][0]["placed"] == []
        write_json(run.placed, {"fits": [fit]})
        description = describe_run(run)
    assert description["stages"][0]["placed"] == [fit]
    assert json.dumps(description)
    caption = str(tabulate_status(description).caption)
    assert "trial 7, round 2, attempt 2: process 123 on far (10.0.0.3, node ab12cd)" in caption
    # Nobody runs here any more: what is left of it tells nothing.
    assert describe_run(run)["stages"][0]["placed"] == []
