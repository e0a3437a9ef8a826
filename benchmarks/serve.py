"""Serving over HTTP against a bare onnxruntime loop, in the same run.

    python benchmarks/serve.py runs/mnist [--seconds 30]

Two loops in this process, with one thread each, say what the machine can do:

* network: `session.run` on one prepared float32 image, over and over; nothing else
* classify: one PNG file decoded, prepared and classified, over and over

Then the server, in a process of its own, gets load from a third one, over 1 and 16 connections:

* infer: prepared images as JSON tensors (Open Inference Protocol); its bare loop is network
* predict: the PNG file to /predict; its bare loop is classify, and against network it also
  pays for decoding and preparing

The loops run before and after; their mean counts. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from burnish.bundle.contract import find_bundle
from burnish.bundle.model import load
from load import Load, measure_load
from server import RunningServer, start_server


def draw_seven(side: int) -> bytes:
    """A seven, black on white, as the page sends one: a PNG of 280x280."""
    image = Image.new("L", (side, side), 255)
    points = [(0.28, 0.25), (0.72, 0.25), (0.45, 0.8)]
    ImageDraw.Draw(image).line(
        [(side * x, side * y) for x, y in points], fill=0, width=side // 13, joint="curve"
    )
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


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
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\n"
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
    before = server.resident_megabytes()
    load_ = measure_load(server.host, server.port, request, connections, seconds)
    after = server.resident_megabytes()
    print(
        f"    {connections:3} connections {load_.rate:7.0f} req/s   "
        f"p50 {load_.percentile(0.5):6.2f} ms   p99 {load_.percentile(0.99):6.2f} ms   "
        f"errors {load_.errors}   memory {before:.0f} -> {after:.0f} MB",
        flush=True,
    )
    return load_


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a bundle, or the folder of a finished run")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each load")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()

    model = load(arguments.model, threads=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(find_bundle(arguments.model) / "model.onnx"), options, ["CPUExecutionProvider"]
    )
    content = draw_seven(280)
    prepared = model.prepare(content)
    values = prepared[np.newaxis].astype(np.float32)
    name = session.get_inputs()[0].name

    starts = sorted(measure_start(arguments.model) for _ in range(3))
    print(f"{model.name}, {model.spec.shape}, one image at a time")
    print(f"start to first connection: {', '.join(f'{one:.2f}' for one in starts)} s")
    bare = {"network": 0.0, "classify": 0.0}

    def run_bare() -> None:
        for what, work in (
            ("network", lambda: session.run(None, {name: values})),
            ("classify", lambda: model.predict([content])),
        ):
            rate = loop(work, min(arguments.seconds, 5))
            bare[what] += rate / 2
            print(f"bare {what:9} {rate:7.0f} /s", flush=True)

    run_bare()
    requests = {
        "infer": post(f"/v2/models/{model.name}/infer", tensor(prepared), "application/json"),
        "predict": post("/predict", content, "image/png"),
    }
    loads: dict[tuple[str, int], Load] = {}
    with start_server(arguments.model, "--workers", str(arguments.workers)) as server:
        for what, request in requests.items():
            print(f"{what}: a request of {len(request):,} bytes")
            measure_load(server.host, server.port, request, 4, 2.0)
            for number in arguments.connections:
                loads[what, number] = watch(server, request, number, arguments.seconds)
    run_bare()
    print("over HTTP, as a share of the bare loops (means of both times)")
    for (what, number), one in loads.items():
        shares = "   ".join(f"{one.rate / rate:5.0%} of {loop_}" for loop_, rate in bare.items())
        print(f"    {what:8} {number:3} connections   {shares}")


if __name__ == "__main__":
    main()
