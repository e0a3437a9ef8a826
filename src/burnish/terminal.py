"""Telling a person how a run goes on: a live bar on a terminal or in a notebook, else lines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from burnish.data.problems import list_lines
from burnish.errors import show_plainly
from burnish.live_bar import LiveBar
from burnish.sizes import show_size
from burnish.stages.observer import Observer

if TYPE_CHECKING:  # For a table of a finished run, TensorFlow need not be loaded.
    from burnish.data import Dataset
    from burnish.training import Epoch
    from burnish.training import Progress as FitProgress
    from burnish.tuning.trial import Trial

LINE_EVERY = 10.0
"""Seconds between two plain lines of one fit: a log is read, not watched."""


class TerminalObserver(Observer):
    """Prints what happens in a run to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: LiveBar | None = None
        self._has_bars = LiveBar.is_possible(console)
        self._last_line = time.monotonic()
        self._last_epoch = 0.0
        self._epochs_planned = self._epochs_done = 0.0

    def images_decoded(self, num_done: int, num_images: int) -> None:
        """Move a bar, or print a line now and then."""
        if self._has_bars:
            if self._bar is None:
                columns = (TextColumn("decoding"), BarColumn(bar_width=30), MofNCompleteColumn())
                left = TimeRemainingColumn(compact=True)
                self._bar = LiveBar(self._console, *columns, left, total=num_images)
            self._bar.update(completed=num_done)
        elif time.monotonic() - self._last_line >= LINE_EVERY:
            self._last_line = time.monotonic()
            self._print(f"decoding: {num_done:,} of {num_images:,} images")

    def data_loaded(self, dataset: Dataset, num_test: int) -> None:
        """Print what was loaded, and how it was cut."""
        self.close()
        height, width, channels = dataset.image_shape
        self._print(
            f"data: {dataset.source}, {len(dataset.train):,} train / {len(dataset.val):,} val / "
            f"{num_test:,} test (sealed), {height}x{width}x{channels}, "
            f"{dataset.num_classes} classes"
        )

    def stage_started(self, number: int, num_stages: int, name: str, detail: str) -> None:
        """Print a line, and begin a bar on a terminal."""
        self._print(f"[{number}/{num_stages}] {name}: {detail}")
        self._last_line, self._last_epoch = time.monotonic(), 0.0
        if not self._has_bars:
            return
        self._bar = LiveBar(
            self._console,
            TextColumn("      epoch {task.fields[epoch]}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[values]}"),
            TextColumn("at most"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            epoch="0",
            values="",
        )

    def fit_progressed(self, progress: FitProgress) -> None:
        """Move the bar, or print a line now and then."""
        if self._bar is not None:
            self._bar.update(
                completed=progress.step,
                total=progress.num_steps,
                epoch=f"{progress.step / progress.steps_per_epoch:.1f}",
                values=_describe_epoch(progress.last) if progress.last else "",
            )
            return
        last = progress.last
        due = time.monotonic() - self._last_line >= LINE_EVERY
        if last is not None and last.epoch != self._last_epoch and due:
            self._last_line, self._last_epoch = time.monotonic(), last.epoch
            self._print(f"      epoch {last.epoch:g}: {_describe_epoch(last)}")

    def features_computed(self, num_done: int, num_views: int) -> None:
        """Move the bar, or print a line now and then."""
        if self._bar is not None:
            self._bar.update(completed=num_done, total=num_views, epoch="0", values="features")
        elif time.monotonic() - self._last_line >= LINE_EVERY:
            self._last_line = time.monotonic()
            self._print(f"      features: {num_done:,} of {num_views:,} views of images")

    def search_started(self, num_trials: int, epochs: float) -> None:
        """Begin to count the epochs of a search."""
        self._epochs_planned, self._epochs_done = epochs, 0.0

    def trial_finished(self, trial: Trial, best: Trial | None) -> None:
        """Move the bar; print a line for a new best trial, and now and then."""
        last = trial.rungs[-1]
        self._epochs_done += last.epochs
        told = f"best {best.loss:.4f} (trial {best.number})" if best else "none succeeded yet"
        if self._bar is not None:
            self._bar.update(
                completed=self._epochs_done,
                total=self._epochs_planned,
                epoch=f"{self._epochs_done:.0f}/{self._epochs_planned:.0f} of the search",
                values=f"trial {trial.number}, {told}",
            )
            return
        due = time.monotonic() - self._last_line >= LINE_EVERY
        if last.failure is not None:
            self._print(f"      trial {trial.number} failed: {last.failure}")
        elif due:
            self._last_line = time.monotonic()
            self._print(
                f"      trial {trial.number}: loss {last.loss:.4f} after {last.epochs:g} epochs; "
                f"{told}; {self._epochs_done:.0f} of {self._epochs_planned:.0f} epochs"
            )

    def refit_started(self, best: Trial) -> None:
        """Print what won."""
        params = ", ".join(f"{name} {value}" for name, value in best.params.items())
        self._print(f"      trial {best.number} won, loss {best.loss:.4f}: {params}")

    def stage_finished(self, result: Mapping[str, Any], *, reused: bool) -> None:
        """Print the stage's result."""
        self.close()
        if result["kind"] == "final":
            test = result["test"]
            low, high = test["accuracy_interval"]
            self._print(
                f"      chosen: {result['chosen']}; test accuracy {test['accuracy']:.2%} "
                f"({low:.2%} to {high:.2%}), test loss {test['loss']:.4f}"
                + (" (read before, not again)" if reused else "")
            )
            return
        line = (
            f"val loss {result['val_loss']:.4f}, val accuracy {result['val_accuracy']:.2%}, "
            f"best epoch {result['best_epoch']:g} of {result['epochs']:g}, "
            f"{result['seconds']:.0f} s"
        )
        self._print(f"{result['name']}: done before: {line}" if reused else f"      {line}")

    def on_note(self, message: str) -> None:
        """Print a message that should not be missed."""
        self._console.print(_text(f"note: {message}", style="bold yellow"), soft_wrap=True)

    def close(self) -> None:
        """End the bar, if there is one."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, line: str) -> None:
        self._console.print(_text(line), soft_wrap=True)


def _text(shown: object, style: str = "") -> Text:
    """Return text that rich takes for no markup, and a terminal for no command."""
    return Text(show_plainly(str(shown)), style=style)


def _describe_epoch(epoch: Epoch) -> str:
    return (
        f"loss {epoch.train_loss:.4f}, val loss {epoch.val_loss:.4f}, "
        f"val accuracy {epoch.val_accuracy:.2%}, {epoch.seconds:.1f} s an epoch"
    )


def tabulate_status(status: Mapping[str, Any]) -> Table:
    """Lay out what ``burnish status`` prints for people."""
    title = f"{status['study']} on {status['data']['source']}: {status['state']}"
    test = status["test"]
    caption = (
        f"test accuracy {test['accuracy']:.2%}, loss {test['loss']:.4f}, read {test['readings']} "
        f"time{'s' if test['readings'] != 1 else ''}; {status['seconds']:.0f} s in all"
        if test
        else f"{status['seconds']:.0f} s so far; the test split is sealed"
    )
    placed = [fit for stage in status["stages"] for fit in stage.get("placed", ())]
    caption = "\n".join([caption, *map(_describe_placed, placed)])
    table = Table(title=_text(title, "table.title"), caption=caption)
    for heading in ("stage", "kind", "state"):
        table.add_column(heading)
    for heading in ("val loss", "val accuracy", "epochs", "seconds"):
        table.add_column(heading, justify="right")
    for stage in status["stages"]:
        known = stage["val_loss"] is not None
        figures = (
            (
                f"{stage['val_loss']:.4f}",
                f"{stage['val_accuracy']:.2%}",
                f"{stage['epochs']:g}",
                f"{stage['seconds']:.0f}",
            )
            if known
            else ("",) * 4
        )
        names = (_text(stage[key]) for key in ("name", "kind", "state"))
        table.add_row(*names, *figures)
    return table


def _describe_placed(fit: Mapping[str, Any]) -> str:
    """Say where a fit of a trial runs."""
    trial, rung, fold = (int(part) for part in fit["fit"].split("/"))
    part = f", fold {fold + 1}" if fold else ""
    again = f", attempt {fit['attempt']}" if fit["attempt"] > 1 else ""
    return (
        f"trial {trial}, round {rung + 1}{part}{again}: process {fit['pid']} on {fit['node']} "
        f"since {fit['since']}"
    )


def tabulate_plan(plan: Mapping[str, Any]) -> Table:
    """Lay out what ``burnish plan`` prints for people."""
    table = Table(
        title=_text(f"{plan['study']}: what will run", "table.title"),
        caption=f"about {plan['seconds'] / 60:.1f} minutes and "
        f"{plan['disk_bytes'] / 1e6:.0f} MB of disk" + _describe_cluster(plan) + _warn(plan),
    )
    table.add_column("stage")
    for heading in ("trials", "epochs", "seconds"):
        table.add_column(heading, justify="right")
    for stage in plan["stages"]:
        trials = str(stage["trials"]) if stage["trials"] else ""
        table.add_row(
            _text(stage["name"]), trials, f"{stage['epochs']:.1f}", f"{stage['seconds']:.0f}"
        )
    features = plan["features"]
    if features["files"]:
        what = f"features, once: {features['views']:,} views, {show_size(features['bytes'])}"
        table.add_row(what, "", "", f"{features['seconds']:.0f}")
    return table


def _warn(plan: Mapping[str, Any]) -> str:
    refused = plan["features"]["refused"]
    return f"\nIt would be refused: {refused}" if refused else ""


def _describe_cluster(plan: Mapping[str, Any]) -> str:
    cluster = plan.get("cluster")
    if cluster is None:
        return ""
    return (
        f"; trials on {cluster['nodes']} nodes with {cluster['cpus']:g} CPUs and "
        f"{cluster['gpus']:g} GPUs, {cluster['workers']} at a time"
    )


def tabulate_check(found: Mapping[str, Any]) -> Table:
    """Lay out the classes of a data set, as ``burnish check`` counts them."""
    table = Table()
    table.add_column("class", overflow="fold")
    for heading in (*found["splits"], "total"):
        table.add_column(heading, justify="right")
    for entry in found["classes"]:
        counts = [f"{entry[split]:,}" for split in found["splits"]]
        table.add_row(_text(entry["name"]), *counts, f"{entry['total']:,}")
    return table


_FOUND = ("notes", "sheets", "suspicious", "warnings", "problems")
_STYLES = {"problems": "bold red", "suspicious": "bold yellow", "warnings": "bold yellow"}


def print_check(console: Console, found: Mapping[str, Any]) -> None:
    """Print what ``burnish check`` found, the problems last."""
    if found["classes"]:
        head = f"{found['path']}: {found['num_images']:,} images, format {found['format']}"
        console.print(_text(head, "bold"), soft_wrap=True)
        console.print(tabulate_check(found))
    lines: dict[str, list[str]] = {"sizes": [], "modes": []}
    if found["sizes"]:
        sizes = [f"{s['height']}x{s['width']} ({s['num']:,})" for s in found["sizes"]]
        more = found["num_sizes"] - len(sizes)
        lines["sizes"] = [", ".join(sizes) + (f" and {more:,} more" if more else "")]
        lines["modes"] = [", ".join(f"{m['mode']} ({m['num']:,})" for m in found["modes"])]
    lines |= {name: found[name] for name in _FOUND}
    # Grouped, and indented already.
    lines["problems"] = [line[2:] for line in list_lines(found["problem_kinds"])]
    for heading, entries in lines.items():
        style = _STYLES.get(heading, "bold")
        if entries:
            console.print(Text(heading, style=style))
        for entry in entries:
            console.print(_text(f"  {entry}"), soft_wrap=True)
        more = found.get(f"num_{heading}", 0) - len(entries)
        if entries and more > 0 and heading == "suspicious":
            console.print(Text(f"  and {more:,} more"))
    if not found["problems"]:
        if found["warnings"]:
            console.print(Text("nothing stops a study; see the warnings", style="bold yellow"))
        else:
            console.print(Text("nothing is wrong", style="bold green"))


def print_cache(console: Console, found: Mapping[str, Any]) -> None:
    """Print what ``burnish cache`` found, and removed."""
    for one in found["removed"]:
        of = ", ".join(one["paths"]) or one["name"]
        console.print(_text(f"removed: {of} ({show_size(one['bytes'])})"), soft_wrap=True)
    if found["removed_features"]:
        console.print(f"removed: {len(found['removed_features'])} files of features")
    if found["entries"]:
        console.print(tabulate_cache(found["entries"]))
    total = f"{show_size(found['bytes'])} of at most {show_size(found['limit'])}"
    console.print(_text(f"{found['folder']}: decoded images, {total}"), soft_wrap=True)
    features = found["features"]
    if features["bytes"]:
        total = f"{show_size(features['bytes'])} of at most {show_size(features['limit'])}"
        said = f"{features['path']}: features, {features['files']} files, {total}"
        console.print(_text(said), soft_wrap=True)
    for other in found["others"]:
        said = f"{other['path']}: {other['what']}, {show_size(other['bytes'])}"
        console.print(_text(f"{said}; not removed by this command"), soft_wrap=True)


def tabulate_cache(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out the entries of the cache of decoded images."""
    table = Table()
    table.add_column("data", overflow="fold")
    for heading in ("images", "size", "on disk"):
        table.add_column(heading, justify="right")
    table.add_column("last used")
    for entry in entries:
        if entry["kind"] == "leftover":
            what, size = "(left by a process that ended)", ""
        elif not entry["num_images"]:
            what, size = "(made by another version of burnish)", ""
        else:
            what = "\n".join(entry["paths"]) or "(arrays)"
            size = f"{entry['height']}x{entry['width']} {entry['color']}"
        used = "now" if entry["in_use"] else entry["last_used"][:10]
        num = f"{entry['num_images']:,}" if entry["num_images"] else ""
        table.add_row(_text(what), num, size, show_size(entry["bytes"]), used)
    return table
