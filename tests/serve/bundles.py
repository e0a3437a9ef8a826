"""Small real bundles, and a real server in a thread, for the tests of serving."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import uvicorn
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from burnish.bundle.contract import FORMAT, describe_input
from burnish.bundle.model import Model
from burnish.files import write_json
from burnish.image import InputSpec
from burnish.serve import Limits, create_app
from burnish.serve.connection import GuardedProtocol

BANDS = InputSpec(20, 20, "grey")
"""Images of 20x20; the class is the brightest of ten bands of two rows each."""

NAMES = tuple(f"band {number}" for number in range(10))


def write_bundle(
    folder: Path,
    name: str = "bands",
    spec: InputSpec = BANDS,
    class_names: Sequence[str] = NAMES,
) -> Path:
    """Write a bundle whose classes are horizontal bands of the image; the brightest wins."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width, channels = spec.shape
    num_classes = len(class_names)
    weights = np.zeros((height, width, channels, num_classes), np.float32)
    for row in range(height):
        weights[row, :, :, row * num_classes // height] = 1.0
    weights *= 20 * num_classes / (height * width * channels * 255)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "bands",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *spec.shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", num_classes])],
        [numpy_helper.from_array(weights.reshape(-1, num_classes), "weights")],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(network)
    content = network.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    contract = {
        "format": FORMAT,
        "study": name,
        "study_fingerprint": "none",
        "input": describe_input(spec),
        "output": {"values": "probabilities", "class_names": list(class_names)},
        "data": {"source": "made up", "fingerprint": "none"},
        "sha256": {"model.onnx": hashlib.sha256(content).hexdigest()},
    }
    write_json(folder / "contract.json", contract)
    return folder


def draw_band(number: int, height: int = 20, width: int = 20) -> NDArray[np.uint8]:
    """An image whose class is ``number``: uint8 (height, width)."""
    image = np.zeros((height, width), np.uint8)
    image[number * height // 10 : (number + 1) * height // 10] = 255
    return image


def write_image(array: NDArray[np.uint8], format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format)
    return stream.getvalue()


@contextlib.contextmanager
def serve_in_thread(model: Model, limits: Limits) -> Iterator[str]:
    """Run the service on a free port; gives its address."""

    class Protocol(GuardedProtocol):
        limits: ClassVar[Limits]

    Protocol.limits = limits
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(model, limits),
            port=0,
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="critical",
            server_header=False,
            timeout_keep_alive=int(limits.idle_seconds),
            timeout_graceful_shutdown=5,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
