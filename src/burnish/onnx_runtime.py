"""The one place where onnxruntime is imported, with its telemetry switched off before.

Everything else takes ``onnxruntime`` from here. A program that imported it earlier has
started its telemetry itself: it is told to stop, but has written its files by then.
"""

from __future__ import annotations

from typing import Any

from burnish.telemetry import switch_off

switch_off("onnxruntime")

import onnxruntime  # noqa: E402

onnxruntime.disable_telemetry_events()

__all__ = ["import_quantization", "onnxruntime"]


def import_quantization() -> Any:
    """Import and return ``onnxruntime.quantization``, which takes a second and needs ``onnx``."""
    import onnxruntime.quantization.shape_inference

    return onnxruntime.quantization
