from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.errors import DamageError, RunFolderError
from burnish.files import write_json
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import (
    HISTORY_COLUMNS,
    write_history,
)

from .disk import break_the_disk


def test_a_failing_write_leaves_the_ledger_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    run.append_reading({"accuracy": 0.5})
    before = run.ledger.read_bytes()
    break_the_disk(monkeypatch)
    with pytest.raises(RunFolderError, match=r"cannot write .*test-ledger\.jsonl: No space left"):
        run.append_reading({"accuracy": 0.6})
    assert run.ledger.read_bytes() == before


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


def test_only_finished_stages_are_listed_in_the_order_of_the_study(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for number, name in ((10, "last"), (2, "b"), (1, "z")):
        write_json(run.stage(number, name) / "result.json", {"name": name, "kind": "train"})
    epochs = [dict.fromkeys(HISTORY_COLUMNS, float(number)) for number in (1, 2)]
    write_history(run.stage(1, "z") / "history.csv", epochs)
    run.stage(3, "begun").mkdir()
    records = run.stages()
    assert [(record.name, record.kind) for record in records] == [
        ("z", "train"),
        ("b", "train"),
        ("last", "train"),
    ]
    assert records[0].history() == epochs
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
    old = {"name": "cnn", "val_loss_mean": 0.2, "val_loss_deviation": 0.01}
    write_json(folder.stage(1, "cnn") / "result.json", old)
    assert folder.stages()[0].result["val_loss_std"] == 0.01
