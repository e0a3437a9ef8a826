"""``burnish.Run``: everything that a run folder holds."""

from __future__ import annotations

import shutil
import sys
import webbrowser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import burnish
from burnish.errors import RunFolderError, StudyError
from burnish.files import read_json, write_json


def test_the_run_says_what_its_folder_says(finished: burnish.Run) -> None:
    result = read_json(finished.path / "stages/02-final/result.json")
    assert (finished.name, finished.state, finished.chosen) == ("tiny", "done", "search")
    test = finished.test
    assert test.accuracy == result["test"]["accuracy"]
    assert test.interval == tuple(result["test"]["accuracy_interval"])
    assert test.interval[0] < test.accuracy < test.interval[1]
    assert (test.num_images, test.readings) == (200, 1)
    assert finished.seconds > 0
    assert finished.study.name == "tiny"
    assert repr(finished) == (
        f"<Run 'tiny' in {finished.path}: done, 2 of 2 stages, test accuracy {test.accuracy:.2%}>"
    )
    assert not (finished.path / "report").exists()  # It was not asked for.


def test_stages_have_their_trials_and_history(finished: burnish.Run) -> None:
    import pandas as pd

    stage = finished.stages["search"]
    trials = stage.trials
    assert isinstance(trials, pd.DataFrame)
    assert list(trials.columns[:4]) == ["number", "bracket", "state", "loss"]
    assert sorted(trials["learning_rate"]) == [0.003, 0.01]
    assert set(trials["state"]) == {"complete"}
    best = trials.loc[trials["loss"].idxmin()]
    assert stage.params["learning_rate"] == best["learning_rate"]
    history = stage.history
    assert isinstance(history, pd.DataFrame)
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert history["val_loss"].min() == pytest.approx(stage.val_loss)
    assert (stage.kind, stage.state) == ("tune", "done")
    assert repr(stage).startswith("<stage 'search', tune: done, val loss ")
    final = finished.stages["final"]
    assert len(final.trials) == len(final.history) == 0
    with pytest.raises(StudyError, match="unknown stage 'serach'; did you mean 'search'"):
        finished.stages["serach"]


def test_tables_are_arrays_where_pandas_is_not(
    finished: burnish.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    trials = finished.stages["search"].trials
    assert isinstance(trials, np.ndarray)
    assert trials["number"].dtype == np.int64
    assert sorted(trials["learning_rate"]) == [0.003, 0.01]
    assert list(trials["failure"]) == ["", ""]
    assert np.isnan(trials["std"]).all()  # There are no folds.


def test_the_report_is_opened_and_plots_are_those_of_it(
    finished: burnish.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run = burnish.open(shutil.copytree(finished.path, tmp_path / "run"))
    page = run.report()
    assert opened == [page.as_uri()]
    drawn = {path.stem for path in (page.parent / "figures").glob("*.png")}
    assert set(run.plots) == drawn
    assert {"comparison", "search-curve", "confusion", "mistakes"} <= drawn
    figure = run.plot("comparison")
    assert isinstance(figure, Figure)
    shown = figure._repr_png_()  # type: ignore[attr-defined]
    assert shown == (page.parent / "figures/comparison.png").read_bytes()
    with pytest.raises(RunFolderError, match="unknown plot 'comparisn'; did you mean"):
        run.plot("comparisn")


def test_mistakes_are_listed_with_their_probabilities(finished: burnish.Run) -> None:
    mistakes = finished.mistakes()
    assert len(mistakes) == round((1 - finished.test.accuracy) * 200)
    assert (mistakes["label"] != mistakes["predicted"]).all()
    assert list(mistakes["probability"]) == sorted(mistakes["probability"], reverse=True)
    assert (mistakes["probability"] >= mistakes["label_probability"]).all()


def test_the_model_predicts_and_is_exported(finished: burnish.Run, tmp_path: Path) -> None:
    image = (np.arange(64) * 4).astype(np.uint8).reshape(8, 8)
    labels, probabilities = finished.model.predict(image)
    assert labels[0] in finished.model.class_names
    again = burnish.load(finished.export("zip", tmp_path / "model.zip")).predict(image)
    np.testing.assert_array_equal(again.probabilities, probabilities)


def test_a_notebook_is_shown_summary_stages_and_pictures(finished: burnish.Run) -> None:
    shown = finished._repr_html_()
    assert "<b>tiny</b> on digits: done." in shown
    assert f"{100 * finished.test.accuracy:.2f} %" in shown
    assert shown.count('<img src="data:image/svg+xml;base64,') == 3
    assert shown.count("<tr>") == 3


def test_a_run_that_has_not_ended_says_so(finished: burnish.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.path, tmp_path / "run")
    shutil.rmtree(folder / "stages/02-final")
    state = read_json(folder / "state.json")
    write_json(folder / "state.json", {**state, "state": "running", "stage": "final"})
    run = burnish.open(folder)
    assert run.state == "interrupted"
    assert run.stages["final"].val_loss is None
    for ask in (lambda: run.test, lambda: run.chosen, run.mistakes):
        with pytest.raises(RunFolderError, match="its test split is sealed"):
            ask()
    assert "sealed" in run._repr_html_()
    shutil.rmtree(folder / "stages/01-search")
    assert "<img" not in burnish.open(folder)._repr_html_()
    with pytest.raises(RunFolderError, match="no finished stage"):
        _ = burnish.open(folder).plots


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        burnish.open(tmp_path)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_mlflow_takes_the_run(
    finished: burnish.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow keeps its files in the working folder.
    assert len(finished.to_mlflow(f"sqlite:///{tmp_path}/mlflow.db")) == 32


def test_runs_are_compared(finished: burnish.Run, tmp_path: Path) -> None:
    other = shutil.copytree(finished.path, tmp_path / "other")
    page = burnish.compare([finished, other], out=tmp_path / "compare.html")
    assert "other" in page.read_text(encoding="utf-8")
    with pytest.raises(RunFolderError, match="at least two"):
        burnish.compare([finished])
