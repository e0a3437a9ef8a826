"""The one place where Keras is imported and its backend set up.

Everything above takes ``keras`` from here, so that the backend is chosen and
quietened before its first import, and the user's own settings of Keras do not count.
Code for one backend alone stands in ``models/layers.py``, ``training/optimizer.py``
and ``training/engine.py``.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from burnish.errors import SetupError

# What a user's environment says of Keras is of other work; processes that start here inherit this.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["KERAS_NNX_ENABLED"] = "0"
for _variable in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "TF_USE_LEGACY_KERAS"):
    os.environ.pop(_variable, None)
try:
    Path.home()
except RuntimeError:
    # Without a home folder TensorFlow would make a folder called "~" in the present one.
    os.environ.setdefault("KERAS_HOME", str(Path(tempfile.gettempdir(), ".keras")))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow takes oneDNN's kernels by itself on recent processors alone; on older ones the
# published CNN trains 2.8 times faster with them, the FNN no slower (docs/log.md).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Hold back what C++ code prints: TensorFlow's import, converters, runtimes.

    They write to file descriptor 2, whatever logging is configured. Where what is done
    fails, what was held back is printed.
    """
    try:
        saved = os.dup(2)
    except OSError:  # No standard error at all: nothing to hold back.
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


OLDEST_KERAS = (3, 15, 1)
"""Older ones ran code from a file in spite of safe mode, or read other files for it."""


def refuse_old_keras(version: str) -> None:
    """Refuse a Keras that cannot be trusted with a file from somebody else.

    Raises
    ------
    SetupError
        Names both versions, and what to do.
    """
    numbers = re.findall(r"[0-9]+", version)[: len(OLDEST_KERAS)]
    if tuple(map(int, numbers)) < OLDEST_KERAS:
        oldest = ".".join(map(str, OLDEST_KERAS))
        raise SetupError(
            f"Keras {version} is installed; burnish needs at least {oldest}, as older ones can run "
            "code that a model's file brings along: pip install --upgrade 'burnish[train]'"
        )


def refuse_other_backend(backend: str) -> None:
    """Refuse a Keras that a program has imported with another backend than TensorFlow.

    Raises
    ------
    SetupError
        Names the backend, and what to do.
    """
    if backend != "tensorflow":
        raise SetupError(
            f"Keras runs on {backend} in this process already, and burnish trains on TensorFlow "
            "alone: set KERAS_BACKEND=tensorflow before keras is imported, or import burnish first"
        )


def _explain_settings(error: Exception) -> SetupError:
    """Say of an error of Keras's import that the user's settings file causes it."""
    folder = os.environ.get("KERAS_HOME") or "~/.keras"
    return SetupError(
        f"Keras cannot read its settings file {folder}/keras.json ({error}): fix or remove it, or "
        "set KERAS_HOME to another folder. burnish needs none of its settings"
    )


_NOT_NEEDED = ("sklearn", "matplotlib")
"""Libraries that Keras imports for wrappers and galleries, a third of its import's time."""

_THEIR_USERS = ("wrappers", "visualization")
"""The parts of Keras that take what is in :data:`_NOT_NEEDED`, and go without."""


@contextmanager
def _without_what_is_not_needed() -> Iterator[None]:
    """Let Keras be imported as if the libraries were not installed, where nobody has them yet.

    Its parts that use them are forgotten at the end: who asks for one imports it then, as it is
    with the libraries.
    """
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    if "keras" in sys.modules or "tensorflow" in sys.modules:
        hidden = []
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not to be had.
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
    if hidden:
        for package in ("keras", "keras.src", "keras._tf_keras.keras"):
            _import_when_asked(package)


def _import_when_asked(package: str) -> None:
    """Forget a package's parts of :data:`_THEIR_USERS`; who looks for one has it imported."""
    found = sys.modules.get(package)
    if found is None:  # Another Keras, which is refused in a moment.
        return
    for part in _THEIR_USERS:
        vars(found).pop(part, None)
        for name in [n for n in sys.modules if f"{n}.".startswith(f"{package}.{part}.")]:
            del sys.modules[name]

    def get(part: str) -> Any:
        if part in _THEIR_USERS:
            return importlib.import_module(f"{package}.{part}")
        raise AttributeError(f"module {package!r} has no attribute {part!r}")

    found.__dict__["__getattr__"] = get


try:
    with hold_back_stderr(), _without_what_is_not_needed():
        import keras
except (ValueError, TypeError, AttributeError, OSError) as error:
    _frames = traceback.extract_tb(error.__traceback__)
    if not any(Path(frame.filename).parts[-2:] == ("backend", "config.py") for frame in _frames):
        raise
    raise _explain_settings(error) from error

refuse_old_keras(keras.__version__)
refuse_other_backend(keras.backend.backend())

# It warns of retracing when a process compiles its fifth model: here that is no mistake.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

__all__ = [
    "BACKEND",
    "collecting_often",
    "configure",
    "describe_settings",
    "has_bfloat16",
    "hold_back_stderr",
    "keras",
    "pin_settings",
    "processor_name",
    "release_models",
    "settle_imports",
]

BACKEND: str = keras.backend.backend()
"""Name of the Keras backend in use."""

_NUMERIC_VARIABLES = (
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "NVIDIA_TF32_OVERRIDE",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
"""Variables by which somebody may change what TensorFlow computes; the last bits depend on them."""


def pin_settings() -> None:
    """Set what layers and losses take from Keras's settings, which a ``keras.json`` may change."""
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")


pin_settings()


def describe_settings() -> dict[str, Any]:
    """Return the settings that results depend on beside a study: Keras's, and variables set."""
    return {
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "image_data_format": keras.config.image_data_format(),
        **{name: os.environ[name] for name in _NUMERIC_VARIABLES if name in os.environ},
    }


def configure(*, deterministic: bool, threads: int | None = None) -> None:
    """Set up the backend for this process; call it before the first fit.

    Parameters
    ----------
    deterministic
        Make every operation give the same bits twice.
    threads
        Number of threads for one operation; all cores when ``None``. TensorFlow
        takes this only before its first operation.
    """
    pin_settings()  # A program may have changed them since.
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def settle_imports() -> None:
    """Take what the imports have made out of the sight of Python's collector.

    :func:`release_models` would otherwise send it through all of that for every fit. For
    processes that do nothing but fit: what is frozen is never collected.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def collecting_often() -> Iterator[None]:
    """Collect circles of references soon after they are made, not when many have piled up.

    tf2onnx copies a network with all its weights for each of dozens of optimisations; Python's
    collector, which counts objects and not bytes, let a gigabyte of copies of EfficientNet-Lite0
    pile up. What was there before is left alone meanwhile: looking through it takes long.
    """
    was_settled, thresholds = gc.get_freeze_count() > 0, gc.get_threshold()
    settle_imports()
    gc.collect()  # A full collection waits for a quarter more than the last one left: now nothing.
    gc.set_threshold(thresholds[0], 5, 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        if was_settled:
            settle_imports()


def release_models() -> None:
    """Free the memory of models that nothing refers to any more.

    Models and their compiled functions refer to each other in circles, with data in
    them; Python's collector, which counts objects and not bytes, would let tens of
    them pile up.
    """
    keras.utils.clear_session(free_memory=False)
    gc.collect()
    trim = _find_trim()
    if trim is not None:
        trim(0)


@cache
def _find_trim() -> Any:
    """The GNU C library's ``malloc_trim``, which returns freed memory to the system."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # Another C library, or Windows.
        return None


@cache
def _processor_lines() -> tuple[str, str]:
    """Model name and feature flags from Linux's cpuinfo; empty elsewhere."""
    name = flags = ""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return name, flags
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = name or value.strip()
        elif key.strip() in {"flags", "Features"}:
            flags = flags or value.strip()
    return name, flags


def has_bfloat16() -> bool:
    """Whether this processor has bfloat16 arithmetic (AVX512-BF16 or AMX)."""
    flags = set(_processor_lines()[1].split())
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def processor_name() -> str:
    """Name of the processor, as far as the system tells."""
    return _processor_lines()[0] or platform.processor() or platform.machine() or sys.platform
