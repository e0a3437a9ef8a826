from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

import burnish
from burnish.advice.doubtful_labels import find_doubtful_labels
from burnish.backend import keras
from burnish.bundle import hash_file, read_contract
from burnish.data import Dataset, SealedTest, load_source, prepare
from burnish.errors import DataError, RunFolderError, StudyError
from burnish.files import read_json, write_json
from burnish.metrics import accuracy, cross_entropy
from burnish.runfolder.hard_images import find_always_wrong
from burnish.runfolder.predictions import SplitPredictions, read_predictions
from burnish.runfolder.status import describe_run
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import read_arrays, read_history
from burnish.runfolder.tensorboard import FILE as EVENTS
from burnish.runfolder.verify import verify_run
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study
from burnish.training import Progress

from ..data.made import make, write_folder
from ..study import FIRST, TINY, read_result, run_here

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STAGES = ("first", "second", "alone", "final")
TRAINED = STAGES[:3]
FILES = ((1, "first"), (2, "final"))


class Notebook(Observer):
    """Writes down what a run tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stages: dict[str, str] = {}

    def data_loaded(self, dataset: Dataset, num_test: int) -> None:
        self.lines.append("data loaded")

    def stage_started(self, number: int, num_stages: int, name: str, detail: str) -> None:
        self.lines.append(f"{number}/{num_stages} {name}: {detail}")

    def stage_finished(self, result: Mapping[str, Any], *, reused: bool) -> None:
        self.stages[result["name"]] = "reused" if reused else "run"

    def on_note(self, message: str) -> None:
        self.lines.append(message)


class StopAfter(Observer):
    """Ctrl-C after some epochs of this process."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.begun = False

    def stage_started(self, number: int, num_stages: int, name: str, detail: str) -> None:
        self.begun = False

    def fit_progressed(self, progress: Progress) -> None:
        # The first call of a fit says where it begins.
        self.epochs -= self.begun
        self.begun = True
        if self.epochs == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def notes() -> Notebook:
    return Notebook()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, notes: Notebook) -> RunFolder:
    """A finished run, for reading alone."""
    return run_here(tmp_path_factory.mktemp("runs") / "finished", observer=notes)


@pytest.fixture
def copy(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A finished run, for a test to change."""
    shutil.copytree(finished.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[SealedTest]:
    """Every opening of the sealed test split."""
    opened: list[SealedTest] = []
    really_open = SealedTest.open

    def watched_open(sealed: SealedTest) -> Any:
        opened.append(sealed)
        return really_open(sealed)

    monkeypatch.setattr(SealedTest, "open", watched_open)
    return opened


def cut_digits() -> tuple[Dataset, SealedTest]:
    study, _ = parse_study(TINY, "tiny")
    return prepare(load_source("digits", None), study.data.split.sizes(), study.seed)


def model_file(run: RunFolder, stage: str) -> Path:
    (path,) = (run.path / "stages").glob(f"[0-9][0-9]-{stage}/model.keras")
    return path


def predictions_of(run: RunFolder, stage: str) -> SplitPredictions:
    (path,) = (run.path / "stages").glob(f"[0-9][0-9]-{stage}/predictions.parquet")
    return read_predictions(path)


def weights_of(run: RunFolder, stage: str) -> list[NDArray[Any]]:
    weights: list[NDArray[Any]] = keras.saving.load_model(model_file(run, stage)).get_weights()
    return weights


def without_time(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "seconds"}


def assert_same_outcome(one: RunFolder, other: RunFolder) -> None:
    """Same values, bit for bit, in everything but the clock's."""
    names = [record.name for record in other.stages()]
    assert [record.name for record in one.stages()] == names
    for name in names:
        result = read_result(other, name)
        assert without_time(read_result(one, name)) == without_time(result)
        if result["kind"] == "final":
            continue
        for mine, theirs in zip(weights_of(one, name), weights_of(other, name), strict=True):
            assert mine.dtype == theirs.dtype
            assert mine.tobytes() == theirs.tobytes()
        for record, twin in zip(one.stages(), other.stages(), strict=True):
            assert list(map(without_time, record.history())) == list(
                map(without_time, twin.history())
            )
    for name in names:
        ours, others = (predictions_of(run, name) for run in (one, other))
        assert ours.probabilities.tobytes() == others.probabilities.tobytes()
    assert [without_clock(entry) for entry in one.readings()] == [
        without_clock(entry) for entry in other.readings()
    ]


def without_clock(entry: dict[str, Any]) -> dict[str, Any]:
    # A .keras archive holds the time of saving, so its hash differs.
    return {key: entry[key] for key in entry if key not in {"time", "model_sha256"}}


def files_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of the last change, and content, of every file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# One run, from end to end


def test_a_run_leaves_exactly_the_files_of_the_layout(finished: RunFolder) -> None:
    fit_files = ("history.csv", "model.keras", "predictions.parquet", "result.json", "files.json")
    final_files = (
        "files.json",
        "hard.npz",
        "mistakes.npz",
        "predictions.parquet",
        "result.json",
        "selection.json",
    )
    assert set(files_below(finished.path)) == {
        ".lock",
        "provenance.json",
        "state.json",
        "study.toml",
        "test-ledger.jsonl",
        "model/README.md",
        "model/contract.json",
        "model/model.keras",
        "model/model.onnx",
        "model/model.onnx.certificate.json",
        *(f"stages/01-first/{name}" for name in fit_files),
        *(f"stages/02-second/{name}" for name in fit_files),
        *(f"stages/03-alone/{name}" for name in fit_files),
        *(f"stages/04-final/{name}" for name in final_files),
        *(f"tensorboard/0{n}-{s}/fit/{EVENTS}" for n, s in enumerate(TRAINED, 1)),
        *(f"tensorboard/0{n}-{s}/files.json" for n, s in enumerate(TRAINED, 1)),
    }


def test_the_run_is_told_in_order(finished: RunFolder, notes: Notebook) -> None:
    assert finished.path.is_dir()
    assert [line.split(":")[0] for line in notes.lines] == [
        "data loaded",
        "1/4 first",
        "2/4 second",
        "3/4 alone",
        "4/4 final",
    ]
    assert "from 'first'" in notes.lines[2]
    assert "up to 3 epochs" in notes.lines[2]
    assert notes.stages == dict.fromkeys(STAGES, "run")


def test_the_study_and_where_it_ran_are_kept(finished: RunFolder) -> None:
    assert finished.read_study() == TINY.rstrip("\n") + "\n"
    provenance = read_json(finished.path / "provenance.json")
    data, sealed = cut_digits()
    assert provenance["data"] == {
        "source": "digits",
        "fingerprint": data.fingerprint,
        "class_names": list("0123456789"),
        "num_train": 400,
        "num_val": 200,
        "num_test": sealed.num_images,
        "image_shape": [8, 8, 1],
        "facts": data.facts.describe(),
    }
    assert provenance["study_seed"] == 7
    assert provenance["command"] == "burnish run tiny"
    assert provenance["keras"] == keras.__version__
    for key in ("burnish", "code", "python", "tensorflow", "numpy", "platform", "processor"):
        assert provenance[key]


def test_a_result_is_that_of_the_best_epoch_of_its_history(finished: RunFolder) -> None:
    for record in finished.stages():
        if record.kind == "final":
            continue
        history = record.history()
        assert [epoch["epoch"] for epoch in history] == [1.0, 2.0, 3.0]
        best = min(history, key=lambda epoch: epoch["val_loss"])
        result = record.result
        assert result["best_epoch"] == best["epoch"]
        assert result["val_loss"] == best["val_loss"]
        assert result["val_accuracy"] == best["val_accuracy"]
        assert result["epochs"] == 3


def test_every_saved_model_gives_the_validation_values_that_its_result_claims(
    finished: RunFolder,
) -> None:
    data, _ = cut_digits()
    for name in TRAINED:
        result = read_result(finished, name)
        model = keras.saving.load_model(model_file(finished, name))
        probabilities = model.predict(data.val.images.astype("float32"), verbose=0)
        assert model.count_params() == result["num_parameters"]
        assert accuracy(probabilities, data.val.labels) == result["val_accuracy"]
        assert cross_entropy(probabilities, data.val.labels) == pytest.approx(
            result["val_loss"], rel=1e-4
        )


def test_every_stage_keeps_what_its_model_gave_for_each_validation_image(
    finished: RunFolder,
) -> None:
    data, _ = cut_digits()
    for name in TRAINED:
        result, kept = read_result(finished, name), predictions_of(finished, name)
        assert kept.labels.tolist() == data.val.labels.tolist()
        assert kept.right.mean() == result["val_accuracy"]
        assert kept.losses.mean() == pytest.approx(result["val_loss"], rel=1e-6)
        table = pyarrow.parquet.read_table(
            next(finished.path.glob(f"stages/*-{name}/predictions.parquet"))
        )
        assert table.column_names == ["index", "name", "label", "predicted", "probabilities"]
        assert table["index"].to_pylist() == list(range(200))
        assert table["predicted"].to_pylist() == kept.predicted.tolist()


def test_the_final_stage_keeps_the_images_that_the_report_shows(finished: RunFolder) -> None:
    data, _ = cut_digits()
    kept = [predictions_of(finished, name) for name in TRAINED]
    wrong = find_always_wrong(kept)
    assert set(wrong) == set(np.flatnonzero(~kept[0].right & ~kept[1].right & ~kept[2].right))
    hard = read_arrays(finished.path / "stages/04-final/hard.npz")
    assert set(wrong[:24]) <= set(hard["index"])
    assert (hard["images"] == data.val.images[hard["index"]]).all()


def test_params_travel_from_the_base_and_seeds_come_from_names(finished: RunFolder) -> None:
    first, second = read_result(finished, "first"), read_result(finished, "second")
    assert first["params"]["hidden_layer_size"] == 64
    assert second["base"] == "first"
    assert second["params"] == {
        **first["params"],
        "hidden_layer_size": 32,
        "learning_rate": 0.02,
    }
    assert len({read_result(finished, name)["seed"] for name in TRAINED}) == 3


def test_the_chosen_stage_has_the_lowest_validation_loss(finished: RunFolder) -> None:
    final = read_result(finished, "final")
    losses = {name: read_result(finished, name)["val_loss"] for name in TRAINED}
    assert final["chosen"] == min(losses, key=lambda name: losses[name]) == "second"
    assert {c["name"]: c["val_loss"] for c in final["candidates"]} == losses
    assert final["val_loss"] == losses["second"]
    assert final["params"] == read_result(finished, "second")["params"]
    selection = read_json(finished.path / "stages/04-final/selection.json")
    assert selection == {"chosen": final["chosen"], "candidates": final["candidates"]}


def test_the_test_result_is_that_of_the_chosen_model_on_the_sealed_split(
    finished: RunFolder,
) -> None:
    final = read_result(finished, "final")
    test = cut_digits()[1].open()
    kept = predictions_of(finished, "final")
    assert kept.labels.tolist() == test.labels.tolist()
    model = keras.saving.load_model(model_file(finished, "second"))
    probabilities = model.predict(test.images.astype("float32"), verbose=0)
    np.testing.assert_allclose(kept.probabilities, probabilities, atol=1e-5)
    assert final["test"]["num_images"] == 200
    assert final["test"]["accuracy"] == accuracy(kept.probabilities, test.labels)
    low, high = final["test"]["accuracy_interval"]
    assert low < final["test"]["accuracy"] < high

    mistakes = read_arrays(finished.path / "stages/04-final/mistakes.npz")
    wrong = np.flatnonzero(kept.probabilities.argmax(axis=1) != test.labels)
    assert set(mistakes["index"]) <= set(wrong)
    assert len(mistakes["index"]) == min(24, len(wrong))
    assert (mistakes["images"] == test.images[mistakes["index"]]).all()


def test_the_reading_is_in_the_ledger_with_the_model_that_was_read(finished: RunFolder) -> None:
    (entry,) = finished.readings()
    test = read_result(finished, "final")["test"]
    digest = hash_file(model_file(finished, "second"))
    assert entry["model_sha256"] == digest == hash_file(finished.model / "model.keras")
    assert {key: entry[key] for key in ("num_images", "accuracy", "loss")} == {
        key: test[key] for key in ("num_images", "accuracy", "loss")
    }
    assert "tiny" in entry["reason"]
    assert read_contract(finished.model)["metrics"]["test"] == test


def test_the_choice_is_written_down_before_the_test_split_is_opened_and_the_bits_are_the_same(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    selection = run.path / "stages" / "04-final" / "selection.json"
    frozen: list[str] = []
    really_open = SealedTest.open

    def watched_open(sealed: SealedTest) -> Any:
        frozen.append(selection.read_text(encoding="utf-8"))
        assert all((run.path / "stages" / f"0{n}-{s}").is_dir() for n, s in enumerate(TRAINED, 1))
        return really_open(sealed)

    monkeypatch.setattr(SealedTest, "open", watched_open)
    run_here(run.path)
    assert frozen == [selection.read_text(encoding="utf-8")]
    # Though it is in another folder.
    assert_same_outcome(run, finished)


# The same again


def test_another_seed_gives_other_weights_and_another_cut(
    finished: RunFolder, tmp_path: Path
) -> None:
    other = run_here(tmp_path / "other", FIRST, ["study.seed=8"])
    assert read_result(other, "first")["val_loss"] != read_result(finished, "first")["val_loss"]
    fingerprints = {describe_run(run)["data"]["fingerprint"] for run in (other, finished)}
    assert len(fingerprints) == 2


def test_running_again_reuses_all_and_leaves_the_test_split_sealed(
    copy: RunFolder, openings: list[SealedTest]
) -> None:
    before = files_below(copy.path)
    notes = Notebook()
    run_here(copy.path, observer=notes)
    assert notes.stages == dict.fromkeys(STAGES, "reused")
    assert openings == []
    after = files_below(copy.path)
    assert set(after) == set(before)
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"state.json", "study.toml", "provenance.json", ".lock"}
    assert describe_run(copy)["state"] == "done"


def test_editing_a_stage_runs_it_and_the_final_one_again_and_keeps_what_was(
    copy: RunFolder, openings: list[SealedTest]
) -> None:
    before = files_below(copy.path)
    notes = Notebook()
    run_here(copy.path, overrides=["alone.params.learning_rate=0.0002"], observer=notes)
    assert notes.stages == {"first": "reused", "second": "reused", "alone": "run", "final": "run"}
    after = files_below(copy.path)
    for name, file in before.items():
        if name.startswith(("stages/01", "stages/02")):
            assert after[name] == file
    assert read_result(copy, "alone")["params"]["learning_rate"] == 0.0002

    kept = sorted((copy.path / "superseded").iterdir())
    assert [path.name[:8] for path in kept] == ["03-alone", "04-final"]
    assert all(any(path.name in line for line in notes.lines) for path in kept)
    for folder in kept:
        for name, (_, content) in files_below(folder).items():
            assert before[f"stages/{folder.name[:8]}/{name}"][1] == content
    # The same model was chosen, and the test split opened once more: so says the ledger.
    assert len(openings) == 1
    assert len(copy.readings()) == 2


def test_editing_a_base_runs_what_builds_on_it_again_and_nothing_else(copy: RunFolder) -> None:
    notes = Notebook()
    run_here(copy.path, overrides=["first.params.dropout_rate=0.1"], observer=notes)
    assert notes.stages == {"first": "run", "second": "run", "alone": "reused", "final": "run"}
    assert read_result(copy, "second")["params"]["dropout_rate"] == 0.1


def test_a_fresh_run_of_the_edited_study_gives_the_same(copy: RunFolder, tmp_path: Path) -> None:
    overrides = ["second.training.max_epochs=2"]
    run_here(copy.path, overrides=overrides)
    fresh = run_here(tmp_path / "fresh", overrides=overrides)
    for name in TRAINED:
        assert without_time(read_result(copy, name)) == without_time(read_result(fresh, name))
    assert read_result(copy, "final")["test"] == read_result(fresh, "final")["test"]


def test_a_stage_that_was_taken_out_leaves_no_trace_in_the_results(copy: RunFolder) -> None:
    start, end = TINY.index('[[stage]]\nname = "alone"'), TINY.index('[[stage]]\nname = "final"')
    notes = Notebook()
    run_here(copy.path, TINY[:start] + TINY[end:], observer=notes)
    assert notes.stages == {"first": "reused", "second": "reused", "final": "run"}
    assert [record.folder.name for record in copy.stages()] == ["01-first", "02-second", "03-final"]
    assert [c["name"] for c in read_result(copy, "final")["candidates"]] == ["first", "second"]
    kept = sorted(path.name[:8] for path in (copy.path / "superseded").iterdir())
    assert kept == ["03-alone", "04-final"]


def test_another_study_is_refused_and_changes_nothing(copy: RunFolder) -> None:
    before = files_below(copy.path)
    with pytest.raises(RunFolderError, match=r"'tiny', not of 'other'.*--out"):
        run_here(copy.path, overrides=["study.name=other"])
    after = files_below(copy.path)
    assert {name: file for name, file in after.items() if name != ".lock"} == {
        name: file for name, file in before.items() if name != ".lock"
    }


# Stopped and gone on


def test_a_run_stopped_after_every_single_epoch_gives_what_an_uninterrupted_one_gives(
    finished: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    stops = 0
    for _ in range(30):
        try:
            run_here(run.path, observer=StopAfter(epochs=1))
        except KeyboardInterrupt:
            stops += 1
            description = describe_run(run)
            assert description["state"] == "interrupted"
            assert description["test"] is None
        else:
            break
    assert stops == 9  # Three stages of three epochs.
    assert_same_outcome(run, finished)


STRUCTURED = """
[study]
name = "killed"
[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }
[training]
batch_size = 32
max_epochs = 12
patience = 12
[[stage]]
name = "cnn"
kind = "train"
model = "cnn"
params = { batch_normalization = true, dropout_rate = 0.3, rotation_range = 0.05 }
[[stage]]
name = "final"
kind = "final"
"""


def test_a_run_killed_in_the_middle_of_a_fit_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    study, run = tmp_path / "killed.toml", RunFolder(tmp_path / "killed")
    study.write_text(STRUCTURED, encoding="utf-8")
    checkpoint = run.path / "stages" / "01-cnn" / "checkpoint.npz"
    command = [sys.executable, "-m", "burnish", "run", str(study), "--out", str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    meta = json.loads(read_arrays(checkpoint)["meta"].tobytes())
    done = len(meta["history"])
    assert 1 <= done < 12
    description = describe_run(run)
    assert description["state"] == "interrupted"
    assert [stage["state"] for stage in description["stages"]] == ["interrupted", "pending"]

    run_here(run.path, STRUCTURED)
    assert describe_run(run)["state"] == "done"
    # It went on: the epochs before the kill were not run again.
    history = read_history(run.stage(1, "cnn") / "history.csv")
    assert [epoch["seconds"] for epoch in history[:done]] == [
        epoch["seconds"] for epoch in meta["history"]
    ]
    assert not checkpoint.exists()
    assert_same_outcome(run, run_here(tmp_path / "uninterrupted", STRUCTURED))


def test_a_fit_does_not_go_on_from_a_checkpoint_of_other_data(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run_here(run.path, FIRST, observer=StopAfter(epochs=1))
    assert (run.stage(1, "first") / "checkpoint.npz").exists()
    other = ["data.split.train=300"]
    run_here(run.path, FIRST, other)
    assert_same_outcome(run, run_here(tmp_path / "fresh", FIRST, other))


def test_killed_between_reading_and_recording_the_test_split_is_not_opened_again(
    copy: RunFolder, openings: list[SealedTest]
) -> None:
    before = read_result(copy, "final")
    ledger = copy.ledger.read_bytes()
    (copy.path / "stages" / "04-final" / "result.json").unlink()
    (copy.model / "contract.json").unlink()
    run_here(copy.path)
    assert copy.ledger.read_bytes() == ledger

    # The same, and the ledger was not written yet.
    (copy.path / "stages" / "04-final" / "result.json").unlink()
    copy.ledger.unlink()
    state = copy.path / "state.json"
    write_json(state, {**read_json(state), "state": "running", "readings": 0})
    run_here(copy.path)
    assert copy.ledger.read_bytes() == ledger

    assert openings == []
    assert read_result(copy, "final") == before
    assert read_contract(copy.model)["metrics"]["test"] == before["test"]


def test_a_stage_killed_before_its_result_was_written_keeps_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is saved, the disk is full when the result is to be written."""

    def fail_at_the_result(path: Path, content: Mapping[str, Any]) -> None:
        if path.name == "result.json":
            raise RunFolderError(f"cannot write {path}: No space left on device")
        write_json(path, content)

    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("burnish.runner.run.write_json", fail_at_the_result)
        with pytest.raises(RunFolderError, match="No space left"):
            run_here(run.path, FIRST)
    place = run.stage(1, "first")
    meta = json.loads(read_arrays(place / "checkpoint.npz")["meta"].tobytes())
    assert describe_run(run)["state"] == "failed"
    run_here(run.path, FIRST)
    assert read_history(place / "history.csv") == meta["history"]


def test_a_damaged_checkpoint_is_set_aside_and_its_fit_starts_afresh(
    finished: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run_here(run.path, observer=StopAfter(epochs=1))
    checkpoint = run.stage(1, "first") / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    notes = Notebook()
    run_here(run.path, observer=notes)
    assert any(str(checkpoint) in line and "is damaged" in line for line in notes.lines)
    (kept,) = run.path.glob("superseded/01-first-damaged-*/checkpoint.npz")
    assert len(kept.read_bytes()) == 1000
    assert_same_outcome(run, finished)


# Errors before training


def test_a_run_folder_below_a_file_is_an_error_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a file")
    notes = Notebook()
    with pytest.raises(RunFolderError, match="cannot be written"):
        run_here(tmp_path / "file" / "run", observer=notes)
    assert notes.lines == []


@pytest.mark.parametrize(
    ("overrides", "stage"),
    [
        (["first.model=cnn", "first.params={ num_conv_layers = 4 }", "second.params={}"], "first"),
        (["alone.model=cnn", "alone.params={ num_conv_layers = 8 }"], "alone"),
        (
            ["first.model=cnn", "first.params={}", "second.params={ num_conv_layers = 4 }"],
            "second",
        ),
    ],
)
def test_a_network_too_deep_for_the_images_is_an_error_before_training(
    tmp_path: Path, overrides: list[str], stage: str
) -> None:
    notes = Notebook()
    with pytest.raises(StudyError) as caught:
        run_here(tmp_path / "run", overrides=overrides, observer=notes)
    message = str(caught.value)
    for part in (f"stage '{stage}'", "num_conv_layers", "8x8", "at most 3"):
        assert part in message
    assert notes.lines == ["data loaded"]
    assert not (tmp_path / "run" / "stages").exists()


def test_more_images_than_there_are_is_an_error_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\[data\] split: .*5000.*1797"):
        run_here(tmp_path / "run", overrides=["data.split.train=5000"])
    assert not (tmp_path / "run" / "stages").exists()


def test_a_folder_where_a_study_never_began_takes_another_study(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run_here(tmp_path / "run", overrides=["data.split.train=5000"])
    run = run_here(tmp_path / "run", FIRST, ["study.name=other", "training.max_epochs=1"])
    assert describe_run(run)["study"] == "other"


def test_a_failed_attempt_leaves_the_finished_results_to_go_on_from(copy: RunFolder) -> None:
    with pytest.raises(StudyError):
        run_here(copy.path, overrides=["alone.model=cnn", "alone.params={ num_conv_layers = 4 }"])
    description = describe_run(copy)
    assert description["state"] == "failed"
    assert "8x8" in description["error"]
    notes = Notebook()
    run_here(copy.path, observer=notes)
    assert set(notes.stages.values()) == {"reused"}
    assert describe_run(copy)["state"] == "done"


def test_a_damaged_state_or_result_is_named_and_made_again(
    finished: RunFolder, copy: RunFolder
) -> None:
    result = copy.stage(1, "first") / "result.json"
    result.write_bytes(result.read_bytes()[:50])
    (copy.path / "state.json").write_bytes(b"")
    notes = Notebook()
    run_here(copy.path, observer=notes)
    for path in (result, copy.path / "state.json"):
        assert any(f"{path} cannot be read as JSON" in line for line in notes.lines)
    # The result of the first stage was written again, and is what it was: all others stand.
    assert notes.stages == {**dict.fromkeys(STAGES, "reused"), "first": "run"}
    assert_same_outcome(copy, finished)
    assert describe_run(copy)["state"] == "done"


def test_a_stages_history_reads_as_plain_csv(finished: RunFolder) -> None:
    with (finished.stage(1, "first") / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3]
    assert all(0 <= float(row["val_accuracy"]) <= 1 for row in rows)


def test_a_model_that_averages_over_views_is_judged_and_handed_over_as_one(
    tmp_path: Path,
) -> None:
    views = ["training.prediction_shift=1", "training.prediction_flip=true"]
    run = run_here(tmp_path / "run", overrides=views)
    study, _ = parse_study(TINY, "the test's study")
    data, _ = prepare(load_source("digits", None), study.data.split.sizes(), study.seed)
    chosen = read_result(run, "final")["chosen"]
    averaged = read_result(run, chosen)
    place = run.stage(STAGES.index(chosen) + 1, chosen)
    model = keras.saving.load_model(place / "model.keras")
    assert len([layer for layer in model.layers if "shifted" in layer.name]) == 8
    probabilities = model.predict(data.val.images.astype(np.float32), verbose=0)
    assert averaged["val_loss"] == pytest.approx(cross_entropy(probabilities, data.val.labels))
    assert averaged["val_accuracy"] == accuracy(probabilities, data.val.labels)
    # Its history is that of the fit, which looked at the images alone.
    lowest = min(epoch["val_loss"] for epoch in read_history(place / "history.csv"))
    assert averaged["val_loss"] != lowest
    # What is handed over averages too, and is certified to say the same.
    served = burnish.load(run.path).predict(data.val.images)
    np.testing.assert_allclose(served.probabilities, probabilities, atol=1e-5)


def test_a_shift_that_leaves_nothing_of_an_image_is_refused_before_anything_is_fitted(
    tmp_path: Path,
) -> None:
    with pytest.raises(StudyError, match=r"'first': prediction_shift = 8 .* at most 7"):
        run_here(tmp_path / "run", overrides=["training.prediction_shift=8"])
    assert not (tmp_path / "run" / "stages").exists()


OWN = """
[study]
name = "own"
seed = 7

[data]
path = "{path}"

[training]
max_epochs = 1

[[stage]]
name = "first"
kind = "train"
model = "fnn"
params = {{ hidden_layer_size = 8 }}

[[stage]]
name = "final"
kind = "final"
"""


def test_a_run_names_its_images_and_a_renamed_one_trains_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = write_folder(tmp_path / "photos", make(30))
    shutil.copy(photos / "1" / "1.png", photos / "2" / "the same.png")
    study = OWN.format(path=photos)
    run = run_here(tmp_path / "run", study)
    listed = {path.relative_to(photos).as_posix() for path in photos.rglob("*.png")}
    named = [read_predictions(run.stage(n, s) / "predictions.parquet").names for n, s in FILES]
    assert all(names is not None and set(names) <= listed for names in named)
    assert not set(named[0] or ()) & set(named[1] or ())
    found = find_doubtful_labels(run)
    assert {entry.name for entry in found.labels} <= listed
    table = (run.data / "duplicates.csv").read_text(encoding="utf-8")
    assert '1,"2/the same.png","2","","yes","yes"' in table
    assert verify_run(run) == []

    (photos / "2" / "the same.png").rename(photos / "2" / "renamed.png")
    notebook = Notebook()
    run_here(tmp_path / "run", study, observer=notebook)
    assert notebook.stages == {"first": "reused", "final": "reused"}
    table = (run.data / "duplicates.csv").read_text(encoding="utf-8")
    assert '"2/renamed.png"' in table
    assert "the same" not in table
    assert verify_run(run) == []
