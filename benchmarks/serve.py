"""Serving over HTTP against bare loops on onnxruntime, in the same run.

    python benchmarks/serve.py runs/mnist [--seconds 30]

Loops in this process, on one thread, say what the machine can do, one image at a time:

* network: `session.run` on a prepared float32 image, over and over; nothing else
* file: a PNG of the model's own size decoded, prepared and classified, over and over
* drawing: the same with a PNG of 112x112, as the page sends while one draws

Then the server, one process of its own, gets load from a third process, over 1 and 16
connections: `infer` is a prepared image as a JSON tensor (Open Inference Protocol), `file` and
`drawing` are those PNGs to /predict. The loops run before and after; their mean counts.
Linux only (/proc).
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from burnish.bundle.contract import find_bundle
from burnish.bundle.model import load
from burnish.onnx_runtime import onnxruntime
from load import Load, measure_load
from server import RunningServer, start_server


def write_png(image: Image.Image) -> bytes:
    """The content of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def draw_seven(side: int) -> bytes:
    """A seven, black on white, as the page sends one: a PNG."""
    image = Image.new("L", (side, side), 255)
    points = [(0.28, 0.25), (0.72, 0.25), (0.45, 0.8)]
    ImageDraw.Draw(image).line(
        [(side * x, side * y) for x, y in points], fill=0, width=side // 13, joint="curve"
    )
    return write_png(image)


def loop(work: Callable[[], object], seconds: float) -> float:
    """Calls a second."""
    for _ in range(50):
        work()
    count, started = 0, time.perf_counter()
    while (now := time.perf_counter()) - started < seconds:
        work()
        count += 1
    return count / (now - started)


def post(path: str, body: bytes, kind: str) -> bytes:
    """An HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def tensor(image: NDArray[np.uint8]) -> bytes:
    """A request of the Open Inference Protocol for one image."""
    shape = [1, *image.shape]
    one = {"name": "image", "datatype": "UINT8", "shape": shape, "data": image.ravel().tolist()}
    return json.dumps({"inputs": [one], "outputs": [{"name": "probabilities"}]}).encode()


def measure_start(model: Path) -> float:
    """Seconds from the command to the address."""
    started = time.perf_counter()
    with start_server(model):
        return time.perf_counter() - started


def watch(server: RunningServer, request: bytes, connections: int, seconds: float) -> Load:
    """Put the server under load for a time; say how its memory did."""
    before, used = server.resident_megabytes(), server.processor_seconds()
    load_ = measure_load(server.host, server.port, request, connections, seconds)
    after, used = server.resident_megabytes(), server.processor_seconds() - used
    print(
        f"    {connections:3} connections {load_.rate:7.0f} req/s   "
        f"p50 {load_.percentile(0.5):6.2f} ms   p99 {load_.percentile(0.99):6.2f} ms   "
        f"errors {load_.errors}   memory {before:.0f} -> {after:.0f} MB   "
        f"processor {1e6 * used / max(1, len(load_.latencies)):.0f} us/req",
        flush=True,
    )
    return load_


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a bundle, or the folder of a finished run")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each load")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()

    model = load(arguments.model, threads=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(find_bundle(arguments.model) / "model.onnx"), options, ["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    drawing = draw_seven(112)
    prepared = model.prepare(drawing)
    pixels = prepared[:, :, 0] if prepared.shape[2] == 1 else prepared
    file = write_png(Image.fromarray(pixels))
    values = prepared[np.newaxis].astype(np.float32)
    loops: dict[str, Callable[[], object]] = {
        "network": lambda: session.run(None, {name: values}),
        "file": lambda: model.predict([file]),
        "drawing": lambda: model.predict([drawing]),
    }

    starts = sorted(measure_start(arguments.model) for _ in range(3))
    print(f"{model.name}, {model.spec.shape}, one image at a time")
    print(f"from the command to the first connection: {', '.join(f'{s:.2f}' for s in starts)} s")
    bare = dict.fromkeys(loops, 0.0)

    def run_loops() -> None:
        for what, work in loops.items():
            rate = loop(work, min(arguments.seconds, 5))
            bare[what] += rate / 2
            print(f"bare {what:8} {rate:7.0f} /s", flush=True)

    run_loops()
    infer = f"/v2/models/{model.name}/infer"
    requests = {
        "infer": ("network", post(infer, tensor(prepared), "application/json")),
        "file": ("file", post("/predict", file, "image/png")),
        "drawing": ("drawing", post("/predict", drawing, "image/png")),
    }
    loads: dict[tuple[str, int], Load] = {}
    with start_server(arguments.model) as server:
        for what, (_, request) in requests.items():
            print(f"{what}: a request of {len(request):,} bytes")
            measure_load(server.host, server.port, request, 4, 2.0)
            for number in arguments.connections:
                loads[what, number] = watch(server, request, number, arguments.seconds)
    run_loops()
    print("over HTTP, as a share of bare loops")
    for (what, number), one in loads.items():
        same = requests[what][0]
        print(
            f"    {what:8} {number:3} connections {one.rate / bare['network']:5.0%} of network"
            + (f" {one.rate / bare[same]:5.0%} of {same}" if same != "network" else "")
        )


if __name__ == "__main__":
    main()
