from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from burnish.errors import RunFolderError
from burnish.files import write_sealed
from burnish.runfolder.tables import (
    HISTORY_COLUMNS,
    read_arrays,
    read_history,
    write_arrays,
    write_history,
)

from .disk import break_the_disk

EPOCHS = [
    {name: epoch + place / 10 for place, name in enumerate(HISTORY_COLUMNS)} for epoch in (1, 2)
]


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
    history, arrays = tmp_path / "history.csv", tmp_path / "predictions.npz"
    write_history(history, EPOCHS[:1])
    write_arrays(arrays, labels=np.arange(3))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    break_the_disk(monkeypatch)
    with pytest.raises(RunFolderError, match=r"cannot write .*history\.csv: No space left"):
        write_history(history, EPOCHS)
    with pytest.raises(RunFolderError, match=r"cannot write .*predictions\.npz: No space left"):
        write_arrays(arrays, labels=np.arange(4))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
