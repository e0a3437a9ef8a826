from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from rich.console import Console

from burnish import terminal
from burnish.data import Dataset
from burnish.terminal import TerminalObserver, tabulate_status
from burnish.training import Epoch, Progress

TRAINED: dict[str, Any] = {
    "name": "cnn",
    "kind": "train",
    "val_loss": 0.12345,
    "val_accuracy": 0.9876,
    "best_epoch": 3.0,
    "epochs": 5.0,
    "seconds": 61.6,
}
FINAL: dict[str, Any] = {
    "name": "final",
    "kind": "final",
    "chosen": "cnn",
    "test": {"accuracy": 0.99, "loss": 0.0456, "accuracy_interval": [0.981, 0.995]},
}


def make_console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    environment = {"TERM": "xterm-256color"}
    console = Console(file=file, force_terminal=is_terminal, width=100, _environ=environment)
    return console, file


def make_progress(epoch: int) -> Progress:
    last = Epoch(float(epoch), 0.5, 0.8, 0.4321, 0.875, 0.001, 1.25)
    return Progress(epoch * 10, 50, 10, last if epoch else None)


def play_a_stage(observer: TerminalObserver, dataset: Dataset) -> None:
    observer.data_loaded(dataset, num_test=1234)
    observer.stage_started(1, 2, "cnn", "cnn, up to 5 epochs, [float32]")
    for epoch in range(6):
        observer.fit_progressed(make_progress(epoch))
    observer.stage_finished(TRAINED, reused=False)


def assert_no_threads_but(threads: set[threading.Thread]) -> None:
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_in_a_log_a_stage_is_a_few_plain_lines(digits: Dataset) -> None:
    console, file = make_console(is_terminal=False)
    observer = TerminalObserver(console)
    play_a_stage(observer, digits)
    observer.close()
    # Fifty steps in no time: no line for them. What looks like markup is printed as it is.
    assert file.getvalue().splitlines() == [
        f"data: digits, {len(digits.train):,} train / {len(digits.val):,} val / "
        "1,234 test (sealed), 8x8x1, 10 classes",
        "[1/2] cnn: cnn, up to 5 epochs, [float32]",
        "      val loss 0.1235, val accuracy 98.76%, best epoch 3 of 5, 62 s",
    ]


def test_in_a_log_a_slow_fit_gets_one_line_an_epoch(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    monkeypatch.setattr(terminal, "LINE_EVERY", 0.0)
    console, file = make_console(is_terminal=False)
    observer = TerminalObserver(console)
    observer.stage_started(1, 1, "cnn", "detail")
    for epoch in (0, 1, 1, 2):
        observer.fit_progressed(make_progress(epoch))
    told = "loss 0.5000, val loss 0.4321, val accuracy 87.50%, 1.2 s an epoch"
    assert file.getvalue().splitlines()[1:] == [f"      epoch 1: {told}", f"      epoch 2: {told}"]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_is_computed_of_images_first_is_told(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(terminal, "LINE_EVERY", 0.0)
    console, file = make_console(is_terminal=is_terminal)
    observer = TerminalObserver(console)
    observer.stage_started(1, 1, "head", "detail")
    observer.features_computed(256, 12_000)
    observer.features_computed(12_000, 12_000)
    observer.close()
    if is_terminal:
        assert "features" in file.getvalue()
    else:
        assert file.getvalue().splitlines()[1:] == [
            "      features: 256 of 12,000 views of images",
            "      features: 12,000 of 12,000 views of images",
        ]


def test_a_reused_stage_says_so() -> None:
    console, file = make_console(is_terminal=False)
    observer = TerminalObserver(console)
    observer.stage_finished(TRAINED, reused=True)
    observer.stage_finished(FINAL, reused=True)
    first, second = file.getvalue().splitlines()
    assert first.startswith("cnn: done before: val loss 0.1235")
    assert second.endswith("(read before, not again)")


def test_the_final_stage_says_what_was_chosen_and_how_sure_it_is() -> None:
    console, file = make_console(is_terminal=False)
    TerminalObserver(console).stage_finished(FINAL, reused=False)
    assert file.getvalue().strip() == (
        "chosen: cnn; test accuracy 99.00% (98.10% to 99.50%), test loss 0.0456"
    )


def test_long_lines_and_notes_are_not_broken_in_a_log() -> None:
    console, file = make_console(is_terminal=False)
    TerminalObserver(console).on_note("stage [x] " + "has changed " * 20)
    (line,) = file.getvalue().splitlines()
    assert line.startswith("note: stage [x] has changed")


def test_on_a_terminal_a_bar_moves_and_is_gone_at_the_end(digits: Dataset) -> None:
    threads = set(threading.enumerate())
    console, file = make_console(is_terminal=True)
    observer = TerminalObserver(console)
    play_a_stage(observer, digits)
    assert_no_threads_but(threads)
    written = file.getvalue()
    assert "epoch" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # The cursor is back.
    assert "val loss 0.1235" in written[written.rindex("\x1b[?25h") :]


def test_on_a_terminal_an_interrupted_bar_ends_cleanly() -> None:
    threads = set(threading.enumerate())
    console, file = make_console(is_terminal=True)
    observer = TerminalObserver(console)
    observer.stage_started(1, 1, "cnn", "detail")
    observer.fit_progressed(make_progress(1))
    observer.close()
    observer.close()
    assert_no_threads_but(threads)
    assert "\x1b[?25h" in file.getvalue()
    # A next stage gets a bar of its own.
    observer.stage_started(1, 1, "cnn", "detail")
    observer.close()
    assert_no_threads_but(threads)


def describe(state: str, *, done: bool) -> dict[str, Any]:
    known = {key: TRAINED[key] for key in ("val_loss", "val_accuracy", "epochs", "seconds")}
    unknown = dict.fromkeys(known)
    return {
        "study": "example",
        "state": state,
        "error": None,
        "seconds": 125.4,
        "data": {"source": "digits", "fingerprint": "f" * 64},
        "stages": [
            {"name": "cnn", "kind": "train", "state": "done", "params": {}, **known},
            {
                "name": "last",
                "kind": "final",
                "state": "done" if done else "pending",
                "params": {} if done else None,
                **(known if done else unknown),
            },
        ],
        "test": {"accuracy": 0.9912, "loss": 0.0321, "readings": 2} if done else None,
    }


def render(status: dict[str, Any]) -> list[str]:
    console, file = make_console(is_terminal=False)
    console.print(tabulate_status(status))
    return [line.strip("│ ") for line in file.getvalue().splitlines()]


def test_the_status_of_a_finished_run_shows_every_stage_and_the_test_result() -> None:
    lines = render(describe("done", done=True))
    assert "example on digits: done" in lines[0]
    rows = [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]
    assert ["cnn", "train", "done", "0.1235", "98.76%", "5", "62"] in rows
    assert ["last", "final", "done", "0.1235", "98.76%", "5", "62"] in rows
    assert lines[-1] == "test accuracy 99.12%, loss 0.0321, read 2 times; 125 s in all"


def test_the_status_of_an_unfinished_run_leaves_open_what_is_not_known() -> None:
    lines = render(describe("interrupted", done=False))
    assert "example on digits: interrupted" in lines[0]
    row = next(line for line in lines if line.startswith("last"))
    assert [cell.strip() for cell in row.split("│")][:3] == ["last", "final", "pending"]
    assert "%" not in row
    assert lines[-1] == "125 s so far; the test split is sealed"
