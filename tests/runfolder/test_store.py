from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from burnish.errors import DamageError, RunBusyError, RunFolderError
from burnish.files import read_json, write_json, write_sealed
from burnish.runfolder.store import (
    HISTORY_COLUMNS,
    RunFolder,
    read_arrays,
    read_history,
    write_arrays,
    write_history,
)

EPOCHS = [
    {name: epoch + place / 10 for place, name in enumerate(HISTORY_COLUMNS)} for epoch in (1, 2)
]

HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from burnish.runfolder.store import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process_in(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A real process that holds the run folder."""
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def break_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


# Files of a run


def test_a_history_comes_back_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "stages" / "history.csv"
    epochs = [{**EPOCHS[0], "val_loss": 0.1 + 0.2, "seconds": 1e-300}, EPOCHS[1]]
    write_history(path, epochs)
    assert read_history(path) == epochs
    assert path.read_text(encoding="utf-8").splitlines()[0] == ",".join(HISTORY_COLUMNS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"epoch,loss\n1,0.5\n",
        ",".join(HISTORY_COLUMNS).encode() + b"\n1,2,3\n",
        ",".join(HISTORY_COLUMNS).encode() + b"\n1,2,3,4,5,6,7,8\n",
        ",".join(HISTORY_COLUMNS).encode() + b"\n1,2,3,4,5,6,long\n",
        ",".join(HISTORY_COLUMNS).encode() + b"\n" + b"9" * 200_000 + b"\n",
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_history_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"history\.csv cannot be read as a history"):
        read_history(path)


def test_a_missing_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"history\.csv cannot be read as a history"):
        read_history(tmp_path / "history.csv")


def test_arrays_come_back_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    probabilities = np.random.default_rng(0).random((5, 10), np.float32)
    write_arrays(path, probabilities=probabilities, name=np.array("sha"))
    found = read_arrays(path)
    assert set(found) == {"probabilities", "name"}
    assert found["probabilities"].dtype == np.float32
    assert found["probabilities"].tobytes() == probabilities.tobytes()
    assert str(found["name"]) == "sha"


def test_pickled_content_is_neither_written_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_arrays(path, bad=np.array([{}], object))
    assert not path.exists()
    buffer = io.BytesIO()
    np.savez(buffer, bad=np.array([{}], object))
    write_sealed(path, buffer.getvalue())
    with pytest.raises(RunFolderError, match=r"predictions\.npz cannot be read"):
        read_arrays(path)


def test_whatever_byte_of_an_archive_is_damaged_it_reads_right_or_is_named(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    write_arrays(path, labels=np.arange(20))
    whole = path.read_bytes()
    messages = []
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    damaged += [
        whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
        for place in range(len(whole))
        for flip in (1, 0xFF)
    ]
    for content in damaged:
        path.write_bytes(content)
        try:
            read_arrays(path)
        except RunFolderError as error:
            messages.append(str(error))
    assert len(messages) > len(damaged) / 2
    assert all(str(path) in message for message in messages)


def test_one_array_alone_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"absent\.npz cannot be read"):
        read_arrays(tmp_path / "absent.npz")
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    write_sealed(tmp_path / "one.npz", buffer.getvalue())
    with pytest.raises(RunFolderError, match=r"one\.npz cannot be read"):
        read_arrays(tmp_path / "one.npz")


def test_a_failing_write_leaves_what_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    history, arrays = tmp_path / "history.csv", tmp_path / "predictions.npz"
    write_history(history, EPOCHS[:1])
    write_arrays(arrays, labels=np.arange(3))
    run.append_reading({"accuracy": 0.5})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    break_the_disk(monkeypatch)
    with pytest.raises(RunFolderError, match=r"cannot write .*history\.csv: No space left"):
        write_history(history, EPOCHS)
    with pytest.raises(RunFolderError, match=r"cannot write .*predictions\.npz: No space left"):
        write_arrays(arrays, labels=np.arange(4))
    with pytest.raises(RunFolderError, match=r"cannot write .*test-ledger\.jsonl: No space left"):
        run.append_reading({"accuracy": 0.6})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


# The lock


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with another_process_in(run.path) as other:
        assert run.is_locked()
        with pytest.raises(RunBusyError) as caught, run.lock():
            pytest.fail("two processes hold one run folder")
        message = str(caught.value)
        assert str(run.path) in message
        assert f"process {other.pid} on " in message
        assert "--out" in message


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with another_process_in(run.path) as other:
        other.kill()
        other.wait()
    assert not run.is_locked()
    with run.lock():
        assert run.is_locked()
    assert not run.is_locked()


def test_the_lock_is_free_after_an_error_and_no_owner_is_left(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), run.lock():
        raise KeyboardInterrupt
    assert not run.is_locked()
    # Nothing was written in it: it is gone as well.
    assert not run.path.exists()
    run.path.mkdir()
    with run.lock():
        with run.lock():  # Whoever holds it may ask again.
            assert run.is_locked()
        assert run.is_locked()
    assert [entry.name for entry in run.path.iterdir()] == [".lock"]


def test_asking_whether_a_folder_is_locked_makes_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert not run.is_locked()
    run.path.mkdir()
    assert not run.is_locked()
    assert list(run.path.iterdir()) == []


@pytest.mark.parametrize("below", ["file", "file/run", "file/a/run"])
def test_a_run_folder_that_cannot_be_made_is_an_error_that_names_it(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_bytes(b"a file")
    run = RunFolder(tmp_path / below)
    with pytest.raises(RunFolderError) as caught, run.lock():
        pytest.fail("a lock on nothing")
    assert str(run.path) in str(caught.value)
    assert "--out" in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"a file"


def test_a_full_disk_is_an_error_and_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        break_the_disk(patch)
        with pytest.raises(RunFolderError, match="No space left"), run.lock():
            pytest.fail("a lock without an owner")
    with run.lock():
        pass


# What stands in a run folder


def test_the_ledger_keeps_every_reading_in_order(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.readings() == []
    readings = [{"time": "2026-01-01", "reason": f"Grüße {n}", "loss": n / 3} for n in range(3)]
    for count, reading in enumerate(readings, start=1):
        run.append_reading(reading)
        assert run.readings() == readings[:count]
    assert len(run.ledger.read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize("content", [b'{"a": 1}\n{"a"', b"\xff\n", b"reading\n", b"[1]\n"])
def test_a_damaged_ledger_is_named(tmp_path: Path, content: bytes) -> None:
    run = RunFolder(tmp_path)
    run.ledger.write_bytes(content)
    with pytest.raises(DamageError, match=r"test-ledger\.jsonl (cannot be read|is damaged)"):
        run.readings()
    with pytest.raises(DamageError):
        run.append_reading({"loss": 1.0})
    assert run.ledger.read_bytes() == content


READING = {
    "time": "2026-01-01T00:00:00Z",
    "model_sha256": "0" * 64,
    "reason": "final stage",
    "num_images": 100,
    "accuracy": 0.9,
    "loss": 0.25,
}


@pytest.mark.parametrize("older", [False, True])
def test_no_bit_of_the_ledger_can_be_changed_unseen(tmp_path: Path, older: bool) -> None:
    run = RunFolder(tmp_path)
    if older:  # A line of a burnish that gave them no digest stays, and is held by the next.
        run.ledger.write_text(json.dumps(READING) + "\n", encoding="utf-8")
    run.append_reading(READING)
    run.append_reading({**READING, "reason": "again"})
    write_json(tmp_path / "state.json", {"state": "done"})
    run.count_readings()
    whole = run.ledger.read_bytes()
    num_lines = len(run.readings())
    assert num_lines == (3 if older else 2)
    for place, byte in enumerate(whole):
        for damaged in (whole[:place] + bytes([byte ^ 1]) + whole[place + 1 :], whole[:place]):
            run.ledger.write_bytes(damaged)
            with pytest.raises(DamageError, match=r"test-ledger\.jsonl .*put the file back"):
                run.readings()
    lines = whole.splitlines(keepends=True)
    for number in range(num_lines):
        run.ledger.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
        with pytest.raises(DamageError):
            run.readings()
    run.ledger.unlink()
    with pytest.raises(DamageError, match=f"has 0 of {num_lines} readings"):
        run.readings()


def test_an_older_line_is_believed_only_as_it_was_written(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.ledger.write_text(json.dumps(READING) + "\n", encoding="utf-8")
    assert run.readings() == [READING]
    run.append_reading(READING)
    given = run.ledger.read_bytes()
    # A flip in the word 'digest' does not make an older line of a newer one.
    for place in range(given.index(b'"digest"'), given.index(b'"digest"') + 8):
        run.ledger.write_bytes(given[:place] + bytes([given[place] ^ 1]) + given[place + 1 :])
        with pytest.raises(DamageError):
            run.readings()


def test_the_study_is_kept_with_a_digest_and_given_without(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_study("[study]\nname = 'a'")
    assert run.read_study() == "[study]\nname = 'a'\n"
    # Whoever runs it again has the last line in it, of what may have been edited since.
    text = run.study_file.read_text(encoding="utf-8")
    run.write_study(text.replace("'a'", "'b'"))
    assert run.read_study() == "[study]\nname = 'b'\n"
    run.study_file.write_text(text.replace("'a'", "'b'"), encoding="utf-8")
    with pytest.raises(DamageError, match=r"study\.toml is damaged, or was edited"):
        run.read_study()


def test_the_owner_is_named_as_soon_as_it_is_known(tmp_path: Path) -> None:
    """It has just taken the lock; the name of one that was killed stands there still."""
    run = RunFolder(tmp_path / "run")
    with another_process_in(run.path) as other:
        owner = run.path / ".owner.json"
        given = read_json(owner)
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        write_json(owner, {**given, "pid": gone.pid})
        later = Timer(0.3, write_json, (owner, given))
        later.start()
        with pytest.raises(RunBusyError, match=f"in use by process {other.pid} on "), run.lock():
            pytest.fail("two processes hold one run folder")
        later.join()


def test_only_finished_stages_are_listed_in_the_order_of_the_study(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for number, name in ((10, "last"), (2, "b"), (1, "z")):
        write_json(run.stage(number, name) / "result.json", {"name": name, "kind": "train"})
    write_history(run.stage(1, "z") / "history.csv", EPOCHS)
    run.stage(3, "begun").mkdir()
    records = run.stages()
    assert [(record.name, record.kind) for record in records] == [
        ("z", "train"),
        ("b", "train"),
        ("last", "train"),
    ]
    assert records[0].history() == EPOCHS
    assert records[1].history() == []


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    path = run.stage(1, "first") / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"name": "fir', encoding="utf-8")
    with pytest.raises(RunFolderError) as caught:
        run.stages()
    assert str(path) in str(caught.value)


def test_a_superseded_stage_is_kept_whole_each_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    kept = []
    for content in ("one", "two", "three"):
        folder = run.stage(1, "first")
        write_json(folder / "result.json", {"content": content})
        kept.append(run.supersede(folder))
        assert not folder.exists()
    assert len(set(kept)) == 3
    assert all(path.parent == tmp_path / "superseded" for path in kept)
    assert all(path.name.startswith("01-first-") for path in kept)
    assert [content.split('"')[3] for content in map(_result_text, kept)] == ["one", "two", "three"]


def _result_text(folder: Path) -> str:
    return (folder / "result.json").read_text(encoding="utf-8")


def test_what_is_no_run_folder_is_refused_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"there is no run folder .*burnish run") as caught:
        RunFolder(tmp_path / "absent").check()
    assert str(tmp_path / "absent") in str(caught.value)
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no study\.toml"):
        RunFolder(tmp_path).check()
    (tmp_path / "study.toml").touch()
    RunFolder(tmp_path).check()


def test_a_spread_written_by_an_older_version_is_read_by_its_name_of_today(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (folder.stage(1, "cnn")).mkdir(parents=True)
    old = {"name": "cnn", "val_loss_mean": 0.2, "val_loss_deviation": 0.01}
    (folder.stage(1, "cnn") / "result.json").write_text(json.dumps(old))
    assert folder.stages()[0].result["val_loss_std"] == 0.01
