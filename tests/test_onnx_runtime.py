"""onnxruntime is imported in one place, which keeps it from reporting its use."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from burnish.onnx_runtime import import_quantization, onnxruntime

ROOT = Path(__file__).parents[1]


def test_no_other_module_imports_onnxruntime() -> None:
    importing = {
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if "onnxruntime" in _list_imports(path)
    }
    assert importing == {"src/burnish/onnx_runtime.py"}


def _list_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_telemetry_is_off_before_onnxruntime_is_loaded(tmp_path: Path) -> None:
    """It is, whatever the environment says."""
    program = "from burnish.onnx_runtime import onnxruntime; print(onnxruntime.__version__)"
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "0", "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_quantization_comes_with_what_prepares_for_it() -> None:
    quantization = import_quantization()
    assert quantization.__name__.startswith(onnxruntime.__name__)
    assert callable(quantization.quantize_static)
    assert callable(quantization.shape_inference.quant_pre_process)
