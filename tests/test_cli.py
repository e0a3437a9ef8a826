from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import burnish
from burnish import cli
from burnish.runfolder.tables import read_arrays, read_history

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TINY = """
[study]
name = "tiny"
[data]
source = "digits"
split = { train = 400, val = 200, test = 200 }
[training]
batch_size = 32
max_epochs = 3
[[stage]]
name = "fnn"
kind = "train"
model = "fnn"
[[stage]]
name = "cnn"
kind = "train"
model = "cnn"
params = { num_filters_first_layer = 4, num_filters_sub_layers = 4 }
[[stage]]
name = "final"
kind = "final"
"""
CNN, FINAL = (TINY.index(f'[[stage]]\nname = "{name}"') for name in ("cnn", "final"))
TINIER = TINY[:CNN] + TINY[FINAL:]
"""One network, for what is asked of a run as a whole."""
QUICK = ["--set", "training.max_epochs=2", "--set", "fnn.params.hidden_layer_size=32"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A machine without data of its own, and without a network, whatever this one has."""
    inherited = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    inherited.pop("BURNISH_DATA", None)
    nowhere = "http://127.0.0.1:9"
    return {
        **inherited,
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "http_proxy": nowhere,
        "https_proxy": nowhere,
    }


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


class Outcome:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def assert_one_error(self) -> str:
        """The message, where the command failed as an error of burnish's own should."""
        assert self.code == 2
        assert self.out == ""
        assert self.err.startswith("error: ")
        assert self.err.count("error: ") == 1
        assert "Traceback" not in self.err
        return self.err


def call(*arguments: str, cwd: Path, environment: dict[str, str]) -> Outcome:
    """``python -m burnish``, in a process of its own."""
    command = [sys.executable, "-m", "burnish", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


class Here:
    """The command line within this process, which has TensorFlow loaded already."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.patch, self.capture = patch, capture

    def __call__(self, *arguments: str) -> Outcome:
        self.patch.setattr(sys, "argv", ["burnish", *arguments])
        self.capture.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = self.capture.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return Outcome(code, out, err)


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    tmp_path: Path,
) -> Here:
    for name in ("XDG_CACHE_HOME", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, environment[name])
    for name in ("BURNISH_DATA", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Here(monkeypatch, capsys)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The folder in which ``burnish run`` was called, and ran."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    outcome = call("run", "tiny.toml", *QUICK, cwd=folder, environment=environment)
    assert outcome.code == 0, outcome.err
    (folder / "stdout").write_text(outcome.out, encoding="utf-8")
    (folder / "stderr").write_text(outcome.err, encoding="utf-8")
    return folder


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


# Help


WHAT_HELP_IMPORTS = """
import sys
from burnish import cli
sys.argv = ["burnish", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as left:
    assert left.code == 0, left.code
heavy = {"tensorflow", "keras", "numpy", "sklearn", "matplotlib", "optuna", "burnish.study"}
if "run" in sys.argv:  # Its help names the formats of images, which plug-ins add to.
    heavy.remove("numpy")
else:  # Typer itself takes pydantic to describe options with limits.
    heavy.add("pydantic")
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_waits_for_no_heavy_import(
    arguments: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHAT_HELP_IMPORTS, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
        env=environment,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command_and_the_version_is_the_packages(here: Here) -> None:
    outcome = here("--help")
    assert outcome.code == 0
    for command in ("run", "status", "report", "studies"):
        assert f" {command} " in outcome.out
    assert "runs/<study or" in here("run", "--help").out
    assert here("--version").out == f"burnish {burnish.__version__}\n"


# A run from end to end


def test_a_run_tells_its_stages_and_where_its_fruits_are(finished: Path) -> None:
    lines = (finished / "stdout").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("data: digits, 400 train / 200 val / 200 test (sealed)")
    stages = [line for line in lines if line.startswith("[")]
    assert stages[0].startswith("[1/3] fnn: ")
    assert stages[-1].startswith("[3/3] final: ")
    assert lines[-2:] == ["report: runs/tiny/report/index.html", "model:  runs/tiny/model"]
    assert (finished / "runs/tiny/report/index.html").stat().st_size > 10_000
    assert (finished / "runs/tiny/model/contract.json").exists()
    assert "\x1b" not in "\n".join(lines)


def test_a_run_that_is_well_says_nothing_on_standard_error(finished: Path) -> None:
    assert (finished / "stderr").read_text(encoding="utf-8") == ""


def test_the_run_is_of_the_study_with_the_values_that_were_set(finished: Path) -> None:
    run = finished / "runs" / "tiny"
    result = read_json(run / "stages" / "01-fnn" / "result.json")
    assert result["settings"]["max_epochs"] == 2
    assert result["params"]["hidden_layer_size"] == 32
    command = read_json(run / "provenance.json")["command"]
    assert command.startswith(" ".join(["burnish run tiny.toml", *QUICK]))


def test_status_in_json_is_one_object(finished: Path, environment: dict[str, str]) -> None:
    outcome = call("status", "runs/tiny", "--json", cwd=finished, environment=environment)
    assert (outcome.code, outcome.err) == (0, "")
    description = json.loads(outcome.out)
    assert (description["study"], description["state"]) == ("tiny", "done")
    assert [stage["state"] for stage in description["stages"]] == ["done"] * 3
    assert description["test"]["readings"] == 1


def test_status_for_people_is_a_table(finished: Path, here: Here) -> None:
    outcome = here("status", str(finished / "runs" / "tiny"))
    assert outcome.code == 0
    assert "tiny on digits: done" in outcome.out
    for name in ("fnn", "cnn", "final"):
        assert f"│ {name} " in outcome.out


def test_report_draws_the_same_page_again_and_names_it(finished: Path, here: Here) -> None:
    page = finished / "runs" / "tiny" / "report" / "index.html"
    content = page.read_bytes()
    page.unlink()
    outcome = here("report", str(finished / "runs" / "tiny"))
    assert (outcome.code, outcome.out) == (0, f"{page}\n")
    assert page.read_bytes() == content


def test_studies_lists_what_ships(here: Here) -> None:
    outcome = here("studies")
    assert outcome.code == 0
    for part in ("digits", "mnist-published", "cnn-tuned", "augmented"):
        assert part in outcome.out


def test_a_second_run_reuses_all(finished: Path, tmp_path: Path, here: Here) -> None:
    shutil.copytree(finished / "runs" / "tiny", tmp_path / "here")
    outcome = here("run", str(finished / "tiny.toml"), *QUICK, "--out", "here")
    assert (outcome.code, outcome.err) == (0, "")
    assert "fnn: done before" in outcome.out
    assert "(read before, not again)" in outcome.out
    assert outcome.out.splitlines()[-1] == "model:  here/model"


# Errors


def test_an_error_is_one_message_and_exit_code_2(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    outcome = call("run", "digts", cwd=tmp_path, environment=environment)
    message = outcome.assert_one_error()
    assert "'digts'" in message
    assert "did you mean 'digits'" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "absent.toml"], ["absent.toml", "No such file"]),
        (["run", "digits", "--set", "cnn"], ["--set cnn", "stage.key=value"]),
        (["run", "digits", "--set", "cmn.x=1"], ["'cmn'", "did you mean 'cnn'"]),
        (
            ["run", "digits", "--set", "training.max_epochs=0"],
            ["the study 'digits'", "[training]", "max_epochs = 0"],
        ),
        (
            ["run", "digits", "--set", "cnn.params.num_conv_layers=4"],
            ["stage 'cnn'", "num_conv_layers = 4", "8x8"],
        ),
        (["run", "digits", "--set", "data.split.train=9999"], ["[data]", "9999", "1797"]),
        (["run", "digits", "--out", "file/run"], ["file/run", "cannot be written", "--out"]),
        (["status", "absent"], ["absent", "burnish run"]),
        (["status", "."], ["not a run folder", "study.toml"]),
        (["report", "absent"], ["absent", "burnish run"]),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_done(
    arguments: list[str], parts: list[str], here: Here, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    outcome = here(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err
    assert not list(tmp_path.rglob("*.keras"))


@pytest.mark.parametrize(
    "arguments", [["rnu"], ["run"], ["run", "digits", "--ot", "x"], ["status"]]
)
def test_a_wrong_command_line_is_exit_code_2_too(arguments: list[str], here: Here) -> None:
    outcome = here(*arguments)
    assert outcome.code == 2
    assert "Usage" in outcome.err


def test_a_missing_extra_is_named(study: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic", raising=False)
    for name in [name for name in sys.modules if name.startswith("burnish.study")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    outcome = here("run", str(study))
    assert outcome.assert_one_error() == (
        "error: this command needs pydantic: pip install 'burnish[train]'\n"
    )


# Where the data is not to be had


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def write_small_mnist(folder: Path) -> None:
    random = np.random.default_rng(0)
    for prefix, num_images in (("train", 120), ("t10k", 40)):
        images = random.integers(0, 256, (num_images, 28, 28), dtype=np.uint8)
        write_idx(folder / "mnist" / f"{prefix}-images-idx3-ubyte.gz", images)
        labels = np.arange(num_images, dtype=np.uint8) % 10
        write_idx(folder / "mnist" / f"{prefix}-labels-idx1-ubyte.gz", labels)


@pytest.fixture
def mnist_study(tmp_path: Path) -> Path:
    path = tmp_path / "small-mnist.toml"
    text = TINIER.replace('source = "digits"', 'source = "mnist"').replace("tiny", "small-mnist")
    path.write_text(text.replace("400, val = 200, test = 200", "80, val = 40"), encoding="utf-8")
    return path


def test_data_that_is_not_to_be_had_is_an_error_that_says_what_to_do(
    mnist_study: Path, here: Here
) -> None:
    outcome = here("run", str(mnist_study), "--data-dir", "empty")
    assert outcome.code == 2
    assert "error: MNIST is not on this machine and could not be downloaded" in outcome.err
    for part in ("empty/mnist", "train-images-idx3-ubyte.gz", "https://", "'digits'"):
        assert part in outcome.err
    assert "INSTEAD" not in outcome.err
    assert "data:" not in outcome.out


def test_the_fallback_runs_digits_and_says_so_loudly(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    command = ["run", "mnist-published", "--data-dir", "empty", "--fallback", "digits"]
    with start(*command, cwd=tmp_path, environment=environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
    assert first.startswith("data: digits, ")
    said = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert "MNIST is not on this machine" in said
    assert "*** Running the study 'digits' INSTEAD of 'mnist-published'. ***" in said
    assert (tmp_path / "runs" / "digits" / "state.json").exists()


def test_the_fallback_goes_into_the_folder_that_was_asked_for(
    mnist_study: Path, study: Path, here: Here
) -> None:
    study.write_text(TINIER, encoding="utf-8")
    command = ["run", str(mnist_study), "--fallback", str(study), "--out", "here"]
    outcome = here(*command)
    assert outcome.code == 0
    assert f"INSTEAD of '{mnist_study}'" in outcome.err
    assert outcome.out.splitlines()[-1] == "model:  here/model"
    assert json.loads(here("status", "here", "--json").out)["study"] == "tiny"
    again = here(*command)
    assert again.code == 0
    assert "fnn: done before" in again.out


def test_the_fallback_is_for_missing_data_alone(mnist_study: Path, here: Here) -> None:
    outcome = here("run", str(mnist_study), "--fallback", "digits", "--set", "fnn.x=1")
    assert outcome.code == 2
    assert "INSTEAD" not in outcome.err


def test_the_fallback_is_not_used_where_the_data_is_there(
    mnist_study: Path, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_mnist(tmp_path / "data")
    command = ["run", str(mnist_study), "--fallback", "digits"]
    outcome = here(*command, "--data-dir", "data", "--out", "one")
    assert outcome.code == 0
    assert "INSTEAD" not in outcome.err
    assert outcome.out.startswith("data: mnist, 80 train / 40 val / 40 test (sealed), 28x28x1")
    assert not (tmp_path / "runs").exists()

    monkeypatch.setenv("BURNISH_DATA", "data")
    outcome = here(*command, "--out", "one")
    assert outcome.code == 0
    assert "INSTEAD" not in outcome.err
    assert "fnn: done before" in outcome.out


# Ctrl-C


@contextmanager
def start(
    *arguments: str, cwd: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A process to be stopped; it is killed at the end. Standard error goes to a file."""
    # Of a signal that this process ignores, as one in the background may, a child is not told.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (cwd / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "burnish", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=cwd,
                env=environment,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_in_the_middle_of_a_fit_ends_at_once_and_the_same_command_goes_on(
    study: Path, tmp_path: Path, environment: dict[str, str], here: Here
) -> None:
    study.write_text(
        TINIER.replace(
            'model = "fnn"', 'model = "fnn"\ntraining = { max_epochs = 50, patience = 50 }'
        ),
        encoding="utf-8",
    )
    command = ["run", str(study), "--out", "run"]
    stage = tmp_path / "run" / "stages" / "01-fnn"
    with start(*command, cwd=tmp_path, environment=environment) as process:
        deadline = time.monotonic() + 60
        while not (stage / "checkpoint.npz").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130
    said = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert said == "stopped; the same command goes on from here\n"
    epochs = json.loads(read_arrays(stage / "checkpoint.npz")["meta"].tobytes())["history"]
    assert 1 <= len(epochs) < 50
    description = json.loads(here("status", "run", "--json").out)
    assert description["state"] == "interrupted"
    assert [stage["state"] for stage in description["stages"]] == ["interrupted", "pending"]

    outcome = call(*command, cwd=tmp_path, environment=environment)
    assert (outcome.code, outcome.err) == (0, "")
    history = read_history(stage / "history.csv")
    assert len(history) == 50
    assert history[: len(epochs)] == epochs  # Times and all: these were not run again.
    assert json.loads(here("status", "run", "--json").out)["state"] == "done"


def test_ctrl_c_while_burnish_starts_leaves_no_traceback(
    study: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    with start("run", str(study), cwd=tmp_path, environment=environment) as process:
        time.sleep(1)  # Within the imports, which take longer.
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
    said = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert said == "stopped; the same command goes on from here\n"
