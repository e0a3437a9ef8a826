"""A real run: every number on its page, the same beside another run, and while it goes on."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import statistics
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from typer.testing import CliRunner

from burnish.cli import app
from burnish.errors import BurnishError, DataError, RunFolderError
from burnish.files import read_json, write_json
from burnish.report import write_report
from burnish.report.compare import compare_runs
from burnish.runfolder.store import RunFolder
from burnish.runner.evaluate import describe_readings, evaluate_again
from burnish.runner.run import run_study
from burnish.stats.bootstrap import bca_interval, resample_means
from burnish.stats.label_errors import suspect_labels
from burnish.study.parse import parse_study
from burnish.watch import Watcher, describe_live

from ..serve.browser import Browser
from .layout import WIDTHS, find_cut

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STUDY = """
[study]
name = "real"
seed = 5

[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }

[training]
batch_size = 64
max_epochs = 4

[[stage]]
name = "base"
kind = "train"
model = "fnn"
params = { learning_rate = 0.003 }

[[stage]]
name = "tuned"
kind = "tune"
base = "base"
sampler = "random"
trials = 6
seeds = 2
schedule = { name = "successive-halving", min_epochs = 1, max_epochs = 2, factor = 2 }
[stage.space]
hidden_layer_size = [16, 32, 64]
learning_rate = { low = 0.001, high = 0.02, log = true }

[[stage]]
name = "final"
kind = "final"
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("runs") / "real")
    study, text = parse_study(STUDY, "the test's study")
    run_study(study, text, run, command="burnish run real.toml", workers=1)
    write_report(run)
    return run


@pytest.fixture
def copy(real: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(real.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


# Every number on the page, computed again from the files alone, by other means than the page's
# wherever there are any.

TEXT = re.compile(r"<(script|style|svg|pre|code)\b.*?</\1>|<[^>]*>", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.\-])[+\u2212]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")


def numbers_of(markup: str) -> set[str]:
    text = html.unescape(TEXT.sub(" ", markup))
    return {number.lstrip("+\u2212").rstrip(",") for number in NUMBER.findall(text)}


def read_table(folder: Path) -> tuple[Any, Any]:
    table = pyarrow.parquet.read_table(folder / "predictions.parquet")
    probabilities = np.array(table["probabilities"].to_pylist(), np.float32)
    return table["label"].to_numpy(), probabilities


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def losses_of(labels: Any, probabilities: Any) -> Any:
    return -np.log(probabilities[np.arange(len(labels)), labels].astype(float))


def written(values: Iterable[float]) -> Iterator[str]:
    """All ways in which the page writes a number."""
    for value in values:
        value = abs(float(value))
        yield from (f"{value:.{places}f}" for places in (0, 1, 2, 3, 4))
        yield from (f"{100 * value:.{places}f}" for places in (0, 1, 2))
        yield from (f"{value:g}", f"{value:.6g}", f"{round(value):,}")
        for size in (1e3, 1e6):
            scaled = value / size
            yield f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}"


def expected_error(labels: Any, probabilities: Any) -> list[float]:
    """Calibration, bin by bin."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    error = 0.0
    for low in range(15):
        inside = (sure > low / 15) & (sure <= (low + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    return [error]


def cool(probabilities: Any, temperature: float) -> Any:
    logits = np.log(np.maximum(probabilities.astype(float), 1e-37)) / temperature
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def find_temperature(labels: Any, probabilities: Any) -> float:
    found = minimize_scalar(
        lambda t: losses_of(labels, cool(probabilities, t)).mean(), bounds=(0.05, 20)
    )
    return float(found.x)


def flatten(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from flatten(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from flatten(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def recompute(run: RunFolder) -> list[float]:
    """All that can be said of this run, from its files."""
    base, tuned, final = (run.stage(n, s) for n, s in ((1, "base"), (2, "tuned"), (3, "final")))
    values: list[float] = []
    tables = {folder.name: read_table(folder) for folder in (base, tuned)}
    temperatures = {}
    for name, (labels, probabilities) in tables.items():
        right = int((probabilities.argmax(axis=1) == labels).sum())
        interval = binomtest(right, len(labels)).proportion_ci(method="wilson")
        values += [right / len(labels), interval.low, interval.high, len(labels)]
        values += [losses_of(labels, probabilities).mean()]
        temperatures[name] = find_temperature(labels, probabilities)
        values += [temperatures[name], *expected_error(labels, probabilities)]
        values += expected_error(labels, cool(probabilities, temperatures[name]))

    # Intervals by the bootstrap, whose draws only its own seed gives again.
    columns = np.column_stack([losses_of(*table) for table in tables.values()])
    means = resample_means(columns)
    for at in range(2):
        values += bca_interval(columns[:, at], means[:, at])
    difference = columns[:, 1] - columns[:, 0]
    moved = means[:, 1] - means[:, 0]
    values += [difference.mean(), *bca_interval(difference, moved)]
    sides = [(np.count_nonzero(s) + 1) / (len(moved) + 1) for s in (moved <= 0, moved >= 0)]
    rights = [p.argmax(axis=1) == labels for labels, p in tables.values()]
    only = [int((rights[0] & ~rights[1]).sum()), int((rights[1] & ~rights[0]).sum())]
    p_values = [2 * min(sides), binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0]
    least, most = min(p_values), max(p_values)
    values += [*only, min(1.0, 2 * least), max(min(1.0, 2 * least), most), 2 / 10_001, 10_000, 2]

    # Fits and trials.
    for path in run.path.rglob("history.csv"):
        history = read_csv(path)
        lowest = min(history, key=lambda row: float(row["val_loss"]))
        values += [len(history), *(float(lowest[c]) for c in ("epoch", "val_loss"))]
        values += [float(lowest["val_accuracy"]), float(history[-1]["epoch"])]
    runs = [read_json(tuned / "seeds" / n / "result.json") for n in ("1", "2")]
    for name in ("val_loss", "val_accuracy"):
        each = [run[name] for run in runs]
        values += [*each, statistics.fmean(each), statistics.stdev(each)]
    trials = [read_json(p) for p in sorted((tuned / "trials").glob("*/trial.json"))]
    rounds = [read_json(p) for p in sorted((tuned / "trials").glob("*/round-*.json"))]
    search = sum(r["seconds"] for r in rounds)
    own = sum(
        float(row["seconds"]) for n in "12" for row in read_csv(tuned / f"seeds/{n}/history.csv")
    )
    began = sum(float(row["seconds"]) for row in read_csv(base / "history.csv"))
    values += [search, search + own, began, search + own + began]
    goes_on = sum(t["rungs"][-1]["epochs"] for t in trials)
    values += [400 * goes_on, 400 * 8, 400 * (goes_on + 8), 400 * 4]
    states = [trial["state"] for trial in trials]
    values += [states.count("complete"), states.count("pruned"), len(trials), *range(len(trials))]
    values += list(
        flatten(
            [
                {k: t[k] for k in ("loss", "accuracy", "epochs", "seconds", "params", "rungs")}
                for t in trials
            ]
        )
    )
    values += [len(trial["rungs"]) for trial in trials]
    result = read_json(tuned / "result.json")
    values += list(flatten([result["params"], result["settings"], result["importances"]]))
    before = read_json(base / "result.json")
    values += list(flatten([before["params"], before["settings"]]))
    values += [result["num_parameters"], before["num_parameters"]]
    values += [result["val_loss"] / before["val_loss"] - 1]
    values += [100 * (result["val_accuracy"] - before["val_accuracy"])]

    # The test split.
    labels, probabilities = read_table(final)
    predicted = probabilities.argmax(axis=1)
    right = int((predicted == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(method="wilson")
    values += [right, len(labels), len(labels) - right, right / len(labels)]
    values += [interval.low, interval.high, losses_of(labels, probabilities).mean()]
    chosen = min(tables, key=lambda name: losses_of(*tables[name]).mean())
    values += expected_error(labels, probabilities)
    values += expected_error(labels, cool(probabilities, temperatures[chosen]))
    values += probabilities.max(axis=1)[predicted != labels].tolist()
    counts = confusion_matrix(labels, predicted)
    rates = precision_recall_fscore_support(labels, predicted, labels=range(10), zero_division=0)
    values += [*np.ravel(rates[:3]), *rates[3], *counts.ravel(), *(rates[3] - counts.diagonal())]
    values += [rates[1].mean(), *(counts / counts.sum(axis=1, keepdims=True)).ravel()]
    judge_labels, judge = tables[chosen]
    suspects = suspect_labels(judge, judge_labels).rows
    values += [len(suspects), *suspects, *judge[suspects].ravel()]
    values += [int((~rights[0] & ~rights[1]).sum())]

    provenance = read_json(run.path / "provenance.json")
    values += [*flatten(provenance), 400, 200, 8, 10, len(run.readings())]
    return values


def test_every_number_on_the_page_follows_from_the_run_folder(real: RunFolder) -> None:
    page = (real.report / "index.html").read_text(encoding="utf-8")
    body = page.split("<body>")[1]
    templates = Path(write_report.__code__.co_filename).parent / "templates"
    fixed: set[str] = set()
    for template in templates.glob("*.html"):
        text = template.read_text(encoding="utf-8")
        fixed |= numbers_of(re.sub(r"{[{#].*?[}#]}", " ", text, flags=re.DOTALL))
    known = set(written(recompute(real))) | fixed
    # Durations, identifiers and times are no results; versions are texts of the provenance.
    seconds = float(read_json(real.path / "state.json")["seconds"])
    known |= {f"{seconds:.1f}"} | {f"{int(seconds) // 60}", f"{round(seconds) % 60:02d}"}
    texts = [(real.path / "provenance.json").read_text("utf-8"), real.ledger.read_text("utf-8")]
    texts += [burnish_words(), *names_of(real)]
    for text in texts:
        known |= set(re.findall(r"\d[\d,.]*", text)) | numbers_of(text)
    known |= set(re.findall(r" et al\. (\d{4})", body))  # Years of what captions cite.
    unexplained = {n for n in numbers_of(body) if n not in known and n.strip("0") not in known}
    assert unexplained == set()
    assert len(numbers_of(body)) > 100
    # Were they others, it would be seen: of numbers a little off hardly one is explained.
    losses = [n for n in numbers_of(body) if re.fullmatch(r"\d\.\d{4}", n)]
    off = [n for n in losses if f"{float(n) + 0.0003:.4f}" in known]
    assert len(losses) > 10
    assert len(off) < 0.2 * len(losses)


def names_of(run: RunFolder) -> list[str]:
    """What the images are called, which may hold numbers."""
    tables = [pyarrow.parquet.read_table(path) for path in run.path.rglob("predictions.parquet")]
    return [name for table in tables for name in table["name"].to_pylist()]


def burnish_words() -> str:
    """Numbers of the wording: thresholds, what the remedies propose, how many are shown."""
    return "25 0.05 95 4 24 0.999"


def test_the_page_says_what_must_not_be_missed(real: RunFolder) -> None:
    page = (real.report / "index.html").read_text(encoding="utf-8")
    text = " ".join(html.unescape(TEXT.sub(" ", page)).split())
    assert "this is optimistic" in text
    assert "With 2 seeds, all else the same" in text
    assert "its figures are optimistic, the mean is what to expect" in text
    assert "6 trials by random and successive-halving" in text
    assert "expected calibration error" in text
    for name in ("tuned-progress", "tuned-parallel", "tuned-slices", "tuned-rounds", "tuned-seeds"):
        for suffix in ("png", "svg"):
            assert (real.report / "figures" / f"{name}.{suffix}").stat().st_size > 3_000
    # Values at the pointer need no script.
    assert re.search(r"<title>epoch 4: validation loss 0\.\d{4}</title>", page)
    assert re.search(r"<title>trial 0: loss", page)


# Compared


def test_two_runs_of_the_same_images_are_compared_on_them(
    real: RunFolder, copy: RunFolder, tmp_path: Path
) -> None:
    page = compare_runs([real, copy], tmp_path / "out" / "c.html").read_text(encoding="utf-8")
    text = " ".join(html.unescape(TEXT.sub(" ", page)).split())
    assert "Not all runs are of the same data" not in text
    assert "no difference shown 0 0 1" in text
    assert "the chosen models have the same params" in text
    assert (tmp_path / "out" / "c-paths.png").exists()


def test_a_run_named_like_markup_is_text(copy: RunFolder, tmp_path: Path) -> None:
    hostile = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(copy.path, hostile)
    write_json(hostile / "state.json", {**read_json(hostile / "state.json"), "study": "<b>x</b>"})
    page = compare_runs([copy, RunFolder(hostile)], tmp_path / "c.html").read_text("utf-8")
    assert "<img src=x" not in page
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page


def test_the_commands_write_where_they_are_told(
    real: RunFolder, copy: RunFolder, tmp_path: Path
) -> None:
    page, study = tmp_path / "c.html", tmp_path / "next.toml"
    done = CliRunner().invoke(app, ["compare", str(real.path), str(copy.path), "--out", str(page)])
    assert done.output.strip() == str(page)
    done = CliRunner().invoke(app, ["suggest", str(real.path), "--out", str(study)])
    assert "with 3 seeds" in done.output
    assert "burnish run" in done.output
    parse_study(study.read_text(encoding="utf-8"), "next")


def test_one_run_is_nothing_to_compare(real: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="at least two"):
        compare_runs([real], tmp_path / "c.html")


# Watched


def fetch(address: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(address, headers=headers)
    try:
        # Whatever proxies another test had set: urlopen would keep them.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=60) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def watcher(copy: RunFolder) -> Iterator[Watcher]:
    with Watcher(copy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_watched_page_is_the_report_with_what_goes_on(watcher: Watcher) -> None:
    before = {p: p.stat().st_mtime_ns for p in watcher.run.path.rglob("*") if p.is_file()}
    status, page = fetch(watcher.address)
    assert status == 200
    assert b"connect-src 'self'" in page
    assert b'id="live-state"' in page
    assert b"What the numbers show" in page
    status, content = fetch(watcher.address + "live.json")
    live = json.loads(content)
    assert live["state"] == "done"
    assert f'data-version="{live["version"]}"'.encode() in page
    assert [stage["name"] for stage in live["stages"]] == ["base", "tuned", "final"]
    after = {p: p.stat().st_mtime_ns for p in watcher.run.path.rglob("*") if p.is_file()}
    assert {p.name for p in after if before.get(p) != after[p]} <= {".lock"}


def test_only_this_machine_is_answered(watcher: Watcher) -> None:
    assert watcher.server_address[0] == "127.0.0.1"
    assert fetch(watcher.address, Host="evil.example:80")[0] == 403
    assert fetch(watcher.address + "live.json", Origin="https://evil.example")[0] == 403
    assert fetch(watcher.address + "live.json", Origin=watcher.address.rstrip("/"))[0] == 200
    assert fetch(watcher.address + "../etc/passwd")[0] == 404


def test_a_stage_that_goes_on_shows_its_trials_and_how_far_it_is(copy: RunFolder) -> None:
    """As the folder stands in the middle of a search."""
    for name in ("03-final", "02-tuned/result.json", "02-tuned/seeds"):
        path = copy.path / "stages" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_json(
        copy.stage(2, "tuned") / "begun.json",
        {"fingerprint": "x", "time": "2025-01-01T00:00:00Z", "epochs": 6 + 3 * 2 + 2 * 4},
    )
    state = {"study": "real", "state": "running", "stage": "tuned", "error": None, "seconds": 3.0}
    write_json(copy.path / "state.json", {**state, "time": "2025-01-01T00:00:09Z"})
    with copy.lock():
        live = describe_live(copy)
    assert live["state"] == "running"
    assert [trial["number"] for trial in live["trials"]] == [5, 4, 3, 2, 1, 0]
    assert live["share"] == pytest.approx((6 + 3 * 2) / 20)
    assert "Stage 2 of 3, tuned: 60 % of its epochs are done" in live["said"]
    assert "1 stage to come" in live["said"]
    # Killed, it says so.
    assert "was stopped" in describe_live(copy)["said"]


def test_before_the_first_stage_there_is_a_page_that_waits(copy: RunFolder) -> None:
    shutil.rmtree(copy.path / "stages")
    with Watcher(copy) as server:
        assert b"has not finished a stage yet" in server.page()


def test_what_is_no_run_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        Watcher(RunFolder(tmp_path))


# Laid out


@pytest.fixture(scope="module")
def compared(real: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pages of few runs and of many, with names of some length."""
    folder = tmp_path_factory.mktemp("compared")
    runs = [real]
    for number in range(7):
        path = folder / f"a-run-with-a-name-of-some-length-{number}"
        path.symlink_to(real.path)
        runs.append(RunFolder(path))
    return [
        compare_runs(runs[:3], folder / "few.html"),
        compare_runs(runs, folder / "many.html"),
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_table_is_cut(
    real: RunFolder, watcher: Watcher, compared: list[Path], browser: Browser, width: int
) -> None:
    pages: list[Path | str] = [real.report / "index.html", *compared, watcher.address]
    for page in pages:
        assert find_cut(browser, page, width) == [], page


# Evaluated


def test_reading_again_is_on_the_record_and_leads_the_report(copy: RunFolder) -> None:
    (first,) = describe_readings(copy)
    entry = evaluate_again(copy, None, "to be sure")
    assert {k: entry[k] for k in ("accuracy", "num_images", "model_sha256")} == {
        k: first[k] for k in ("accuracy", "num_images", "model_sha256")
    }
    assert entry["loss"] == pytest.approx(first["loss"])
    assert entry["reason"] == "to be sure"
    assert copy.readings() == [first, entry]
    write_report(copy)
    page = (copy.report / "index.html").read_text(encoding="utf-8")
    assert page.index("The test split was read 2 times.") < page.index('aria-label="Result"')


def test_the_command_reads_only_when_asked_to(copy: RunFolder) -> None:
    ledger = copy.ledger.read_bytes()
    done = CliRunner().invoke(app, ["evaluate", str(copy.path)])
    assert done.exit_code == 0
    assert "The test split was read 1 time." in done.output
    assert copy.ledger.read_bytes() == ledger


def test_other_data_and_unfinished_runs_are_refused(copy: RunFolder) -> None:
    copy.write_study(copy.read_study().replace("train = 400", "train = 300"))
    ledger = copy.ledger.read_bytes()
    with pytest.raises(DataError, match="not those that its run had"):
        evaluate_again(copy, None, "why")
    assert copy.ledger.read_bytes() == ledger
    shutil.rmtree(copy.model)
    with pytest.raises(BurnishError, match="no tested model yet"):
        describe_readings(copy)
