"""Several seeds, the gate, predictions and TensorBoard's files, on tiny studies."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from burnish.bundle import hash_file
from burnish.errors import RunFolderError, StudyError
from burnish.runfolder.predictions import SplitPredictions, read_predictions, write_predictions
from burnish.runfolder.status import describe_run
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import read_history
from burnish.runfolder.tensorboard import FILE
from burnish.stages.observer import Observer
from burnish.study.parse import parse_study
from burnish.training import Progress

from ..study import FIRST, TINY, read_result, run_here

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SEEDS = ["first.seeds=3"]


class StopAfterEpochs(Observer):
    """Ctrl-C after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def fit_progressed(self, progress: Progress) -> None:
        if progress.step:
            self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run_here(tmp_path_factory.mktemp("runs") / "several", overrides=SEEDS)


def without_clock(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: without_clock(v) for k, v in value.items() if k != "seconds"}
    return [without_clock(v) for v in value] if isinstance(value, list) else value


# SplitPredictions


def test_predictions_come_back_as_they_were_and_the_same_bytes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    given = SplitPredictions(
        np.array([0, 2, 1], np.int32),
        generator.dirichlet([1, 1, 1], 3).astype(np.float32),
        {"model_sha256": "ab"},
    )
    for name in ("one", "two"):
        write_predictions(tmp_path / name, given)
    found = read_predictions(tmp_path / "one")
    assert found.labels.tolist() == given.labels.tolist()
    assert found.probabilities.tobytes() == given.probabilities.tobytes()
    assert dict(found.facts) == {"model_sha256": "ab"}
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_predictions_name_their_images(tmp_path: Path) -> None:
    given = SplitPredictions(
        np.array([0, 1, 1], np.int32),
        np.full((3, 2), 0.5, np.float32),
        names=("cat/1.png", "cat\u202egnp.exe", os.fsdecode(b"caf\xe9.png")),
    )
    path = tmp_path / "predictions.parquet"
    write_predictions(path, given)
    found = read_predictions(path)
    # What is no text is written as what can be read of it.
    assert found.names == ("cat/1.png", "cat\u202egnp.exe", r"caf\udce9.png")
    assert pq.read_table(path).column_names[:3] == ["index", "name", "label"]
    # Another name is damage, as every other change is.
    table = pq.read_table(path)
    names = pa.array(["dog/1.png", *table["name"].to_pylist()[1:]])
    pq.write_table(table.set_column(1, "name", names), path)
    with pytest.raises(RunFolderError, match="does not match its digest"):
        read_predictions(path)


def test_predictions_of_before_there_were_names_are_read(tmp_path: Path) -> None:
    given = SplitPredictions(np.array([0, 1], np.int32), np.full((2, 2), 0.5, np.float32))
    path = tmp_path / "predictions.parquet"
    write_predictions(path, given)
    assert read_predictions(path).names is None
    table = pq.read_table(path)
    assert table["name"].null_count == 2
    pq.write_table(table.drop_columns("name"), path)
    assert read_predictions(path).names is None


def test_balanced_classes_weigh_the_losses(tmp_path: Path) -> None:
    given = SplitPredictions(np.array([0, 0, 0, 1], np.int32), np.full((4, 2), 0.5, np.float32))
    assert given.weights("none") is None
    weights = given.weights("balanced")
    assert weights is not None
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", None])
def test_damaged_predictions_are_named_with_what_to_do(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "predictions.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"predictions\.parquet cannot be read.*run the study"):
        read_predictions(path)


# Seeds


def test_a_stage_with_seeds_keeps_every_run_and_the_best_of_them(several: RunFolder) -> None:
    result = read_result(several, "first")
    place = several.stage(1, "first")
    runs = [
        json.loads((place / "seeds" / str(n) / "result.json").read_text("utf-8")) for n in (1, 2, 3)
    ]
    losses = [run["val_loss"] for run in runs]
    assert len(set(losses)) == 3
    assert len({run["seed"] for run in runs}) == 3
    assert [run["val_loss"] for run in result["runs"]] == losses
    assert result["val_loss"] == min(losses)
    assert result["kept_run"] == losses.index(min(losses)) + 1
    assert result["val_loss_mean"] == pytest.approx(statistics.fmean(losses))
    assert result["val_loss_std"] == pytest.approx(statistics.stdev(losses))
    assert result["seconds"] == pytest.approx(sum(run["seconds"] for run in runs))
    kept = place / "seeds" / str(result["kept_run"])
    for name in ("history.csv", "model.keras", "predictions.parquet"):
        assert hash_file(place / name) == hash_file(kept / name)
    assert not list(place.rglob("*.npz"))
    # All else is as without seeds: the first run is the one that a single one would be.
    assert "runs" not in read_result(several, "second")


def test_the_first_seed_gives_what_one_alone_gives(several: RunFolder, tmp_path: Path) -> None:
    alone = run_here(tmp_path / "alone", FIRST)
    runs = read_result(several, "first")["runs"]
    assert runs[0]["val_loss"] == read_result(alone, "first")["val_loss"]


def test_stopped_between_its_seeds_a_stage_goes_on_to_the_same(
    several: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "stopped")
    place = run.stage(1, "first")
    before: dict[Path, int] = {}
    for num_recorded in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run_here(run.path, overrides=SEEDS, observer=StopAfterEpochs(4))
        recorded = sorted(place.glob("seeds/*/result.json"))
        assert len(recorded) == num_recorded
        assert before.items() <= {path: path.stat().st_mtime_ns for path in recorded}.items()
        before = {path: path.stat().st_mtime_ns for path in recorded}
    run_here(run.path, overrides=SEEDS)
    # What was recorded was not done again.
    assert {path: path.stat().st_mtime_ns for path in recorded} == before
    for name in ("first", "second", "alone", "final"):
        ours, theirs = (without_clock(read_result(r, name)) for r in (run, several))
        assert ours == theirs


def test_other_seeds_make_another_stage(several: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(several.path, tmp_path / "copy")
    run = run_here(tmp_path / "copy", overrides=["first.seeds=2"])
    assert len(read_result(run, "first")["runs"]) == 2
    assert [path.name[:8] for path in sorted((run.path / "superseded").iterdir())] == [
        "01-first",
        "02-secon",
        "04-final",
    ]


# The gate


def test_a_stage_that_beats_its_base_passes_the_gate(tmp_path: Path) -> None:
    run = run_here(tmp_path / "run", overrides=["second.gate=must_beat_base"])
    result = read_result(run, "second")
    gate = result["gate"]
    assert gate["passed"]
    assert gate["interval"][0] < gate["difference"] < gate["interval"][1] < 0
    first, second = (
        read_predictions(run.stage(n, s) / "predictions.parquet")
        for n, s in ((1, "first"), (2, "second"))
    )
    assert gate["difference"] == pytest.approx((second.losses - first.losses).mean())
    assert result["params"]["hidden_layer_size"] == 32


def test_a_stage_that_does_not_beat_its_base_hands_on_what_the_base_had(tmp_path: Path) -> None:
    overrides = ["second.gate=must_beat_base", "second.params={ learning_rate = 0.0001 }"]
    overrides += ["alone.model=fnn", "alone.base=second", "alone.params={ dropout_rate = 0.1 }"]
    run = run_here(tmp_path / "run", overrides=overrides)
    first, second = read_result(run, "first"), read_result(run, "second")
    assert second["gate"]["passed"] is False
    assert second["gate"]["rejected"]["params"]["learning_rate"] == 0.0001
    assert second["gate"]["rejected"]["val_loss"] > first["val_loss"]
    for name in ("params", "val_loss", "val_accuracy", "best_epoch", "num_parameters"):
        assert second[name] == first[name]
    place = run.stage(2, "second")
    for name in ("history.csv", "model.keras", "predictions.parquet"):
        assert hash_file(place / name) == hash_file(run.stage(1, "first") / name)
        assert hash_file(place / "rejected" / name) != hash_file(place / name)
    # What builds on it inherits the base's params.
    assert read_result(run, "alone")["params"]["learning_rate"] == 0.001
    # Nothing is run again, and of two equal losses the earlier stage is chosen.
    assert describe_run(run)["state"] == "done"
    before = hash_file(place / "result.json")
    run_here(run.path, overrides=overrides)
    assert hash_file(place / "result.json") == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("first.gate=must_beat_base", "needs a 'base' to beat"),
        ("second.gate=whatever", "gate = 'whatever': expected"),
        ("first.seeds=0", "seeds = 0: expected a number greater than or equal to 1"),
    ],
)
def test_seeds_and_gates_that_cannot_be_are_refused(override: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study(TINY, "the study", [override])
    assert message in str(caught.value)


# TensorBoard


def test_event_files_hold_the_histories(several: RunFolder) -> None:
    folder = several.tensorboard / "01-first"
    assert sorted(p.parent.name for p in folder.rglob("*tfevents*")) == [
        "fit",
        "seed-1",
        "seed-2",
        "seed-3",
    ]
    history = read_history(several.stage(1, "first") / "seeds" / "2" / "history.csv")
    records = list(tf.data.TFRecordDataset(str(folder / "seed-2" / FILE)).as_numpy_iterator())
    events = [tf.compat.v1.Event.FromString(record) for record in records]
    assert events[0].file_version == "brain.Event:2"
    assert [event.step for event in events[1:]] == [1, 2, 3]
    for event, row in zip(events[1:], history, strict=True):
        values = {value.tag: value.simple_value for value in event.summary.value}
        assert values["loss/validation"] == pytest.approx(row["val_loss"])
        assert values["accuracy/train"] == pytest.approx(row["train_accuracy"])
    assert events[1].wall_time < events[2].wall_time
