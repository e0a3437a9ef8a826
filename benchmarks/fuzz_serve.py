"""Malformed requests against a real server: it must stay up, and answer 4xx or 503.

    python benchmarks/fuzz_serve.py runs/mnist [--requests 10000] [--slow 200] [--seed 0]

Every request is malformed for certain; kinds whose requests may by chance be good (a flipped
byte can leave an image that decodes) come on top, and may also get 200. `closed` counts
clients that hung up themselves, or were cut off in the middle of a head that is no HTTP.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import functools
import io
import json
import random
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from server import RunningServer, start_server

Random: TypeAlias = random.Random
Maker: TypeAlias = Callable[[Random], bytes]


def post(
    body: bytes, kind: str = "application/octet-stream", path: str = "/predict", extra: str = ""
) -> bytes:
    """A request whose framing is right."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def draw(r: Random, format: str, **options: object) -> bytes:
    """A good image of noise."""
    side = r.randint(8, 64)
    image = Image.frombytes("L", (side, side), r.randbytes(side * side))
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def make_png(width: int, height: int, data: bytes) -> bytes:
    """A grey PNG that says it is of this size, whatever it holds."""
    png = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    for kind, content in ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
        crc = zlib.crc32(kind + content)
        png += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)
    return png


def cut_png(r: Random) -> bytes:
    """A PNG without its last pixels."""
    content = draw(r, "PNG")
    return post(content[: r.randint(1, len(content) - 40)])


def cut_jpeg(r: Random) -> bytes:
    """The first half of a JPEG, or less."""
    content = draw(r, "JPEG")
    return post(content[: r.randint(1, len(content) // 2)])


def flip(r: Random) -> bytes:
    """An image with a few wrong bytes: perhaps still an image."""
    content = bytearray(draw(r, r.choice(["PNG", "JPEG"])))
    for _ in range(r.randint(1, 8)):
        content[r.randrange(len(content))] = r.randrange(256)
    return post(bytes(content))


def bomb(r: Random) -> bytes:
    """Small files of many pixels, real and pretended."""
    if r.random() < 0.3:
        return post(_real_bomb())
    return post(make_png(r.randint(8_001, 2**31 - 1), r.randint(8_001, 2**31 - 1), b"\0" * 99))


@functools.cache
def _real_bomb() -> bytes:
    """A whole PNG of little more pixels than are decoded, in 64 kB."""
    side = 8_001
    return make_png(side, side, bytes((side + 1) * side))


def lie(r: Random) -> bytes:
    """A PNG with fewer pixels than it says."""
    return post(make_png(r.randint(100, 1_500), r.randint(100, 1_500), r.randbytes(50)))


def animate(r: Random) -> bytes:
    """An animated PNG."""
    frames = [Image.new("L", (9, 9), grey) for grey in r.sample(range(256), 3)]
    stream = io.BytesIO()
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    return post(stream.getvalue())


def other_format(r: Random) -> bytes:
    """Images and files of other formats."""
    if r.random() < 0.5:
        return post(draw(r, r.choice(["GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA"])))
    start = r.choice(
        [b"", b"%PDF-1.7\n", b"PK\3\4", b"<svg xmlns=", b"RIFF", b"\x1f\x8b", b"\x89P"]
    )
    return post(start + r.randbytes(r.randint(0, 2_000)))


def wrong_form(r: Random) -> bytes:
    """Forms without a file, with several, cut off, with another boundary, or of rubbish."""
    part = b'Content-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + draw(r, "PNG")
    field = b'Content-Disposition: form-data; name="f"\r\n\r\nhello'
    middle = b"\r\n--b\r\n"
    body, kind = r.choice(
        [
            (b"--b\r\n" + field + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"),
            (
                b"--b\r\n" + part + middle + part + b"\r\n--b--\r\n",
                "multipart/form-data; boundary=b",
            ),
            (b"--b\r\n" + part, "multipart/form-data; boundary=b"),
            (b"--b\r\n" + part + b"\r\n--b--\r\n", "multipart/form-data; boundary=c"),
            (b"--b\r\n" + part + b"\r\n--b--\r\n", "multipart/form-data"),
            (b"--b\r\n" + part + b"\r\n--b--\r\n", "multipart/form-data; boundary="),
            (middle.join([b"--b\r\n" + field, *[field] * 40]), "multipart/form-data; boundary=b"),
            (b"--b\r\n" + b"X: y\r\n" * 2_000 + b"\r\n", "multipart/form-data; boundary=b"),
            (b"--b\r\n" + r.randbytes(500), "multipart/form-data; boundary=b"),
            (r.randbytes(500), "multipart/form-data; boundary=b"),
            (b"\r\n--b" * 5_000, "multipart/form-data; boundary=b"),
            (r.randbytes(99), f"multipart/{r.choice(['mixed', 'x'])}; boundary=b"),
        ]
    )
    return post(body, kind)


class Json:
    """Malformed requests to `infer`."""

    def __init__(self, name: str, shape: list[int]) -> None:
        self._path = f"/v2/models/{name}/infer"
        self._shape = shape

    def tensor(self, r: Random) -> bytes:
        """JSON whose tensor has a wrong name, type, shape or value."""
        size = self._shape[0] * self._shape[1] * self._shape[2]
        tensor: dict[str, object] = {
            "name": "image",
            "datatype": "UINT8",
            "shape": [1, *self._shape],
            "data": [r.randrange(256) for _ in range(size)],
        }
        key = r.choice(list(tensor))
        values: dict[str, list[object]] = {
            "name": ["x", None, 7, ["image"], "i" * 9_999],
            "datatype": ["FP32", "uint8", None, {}, 3],
            "shape": [[1], [2, *self._shape], [-1, *self._shape], [10**9, *self._shape], "s", None],
            "data": [
                [], None, "abc", {}, [[]], [1] * (size - 1), [1] * (size + 1), [-1] * size,
                [256] * size, [0.5] * size, [None] * size, ["1"] * size, [True] * size,
                [10**30] * size, [float("nan")] * size, [[1]] * (size - 1) + [[1, 2]],
            ],
        }  # fmt: skip
        if r.random() < 0.2:
            del tensor[key]
        else:
            tensor[key] = r.choice(values[key])
        return self._post({"inputs": [tensor]})

    def shell(self, r: Random) -> bytes:
        """JSON that is no request, and what is no JSON."""
        things: list[object] = [
            None, 7, "x", [], {}, {"inputs": None}, {"inputs": {}}, {"inputs": [7]},
            {"inputs": [{}] * r.randint(2, 50)}, {"input": []}, {"id": 7, "inputs": []},
        ]  # fmt: skip
        if r.random() < 0.5:
            return self._post(r.choice(things))
        good = json.dumps({"inputs": [{"name": "image", "data": [1, 2, 3]}]}).encode()
        return post(
            r.choice(
                [
                    good[: r.randint(0, len(good) - 1)],
                    r.randbytes(r.randint(1, 500)),
                    b"[" * r.randint(1_000, 200_000),
                    b'{"inputs":' * 5_000,
                    b"1" * r.randint(5_000, 50_000),
                    b"\xff\xfe" + good,
                    b"NaN",
                ]
            ),
            "application/json",
            self._path,
        )

    def _post(self, content: object) -> bytes:
        return post(json.dumps(content).encode(), "application/json", self._path)


def wrong_json(r: Random) -> bytes:
    """JSON to /predict without an image in base64."""
    image = base64.b64encode(draw(r, "PNG")).decode()
    bodies: list[object] = [
        {}, [], "x", {"image": None}, {"image": [image]}, {"image": ""}, {"picture": image},
        {"image": image[: 4 * r.randint(0, 3) + 1]}, {"image": "data:image/png," + image},
        {"image": "data:image/png;base64," + image[: 4 * r.randint(1, 10)]},
        {"image": base64.b64encode(r.randbytes(r.randint(1, 99))).decode()},
    ]  # fmt: skip
    whole = json.dumps({"image": image}).encode()
    broken = [whole[: r.randint(0, len(whole) - 1)], b"[" * 100_000, b"\xff" + whole]
    sent = r.choice([*(json.dumps(body).encode() for body in bodies), *broken])
    return post(sent, "application/json")


def too_long(r: Random) -> bytes:
    """Bodies over 16 MiB, announced, or in chunks."""
    size = r.randint(16 * 2**20 + 1, 17 * 2**20)
    if r.random() < 0.3:
        return (
            f"POST /predict HTTP/1.1\r\nContent-Length: {r.choice([size, 10**15])}\r\n\r\n".encode()
        )
    if r.random() < 0.5:
        return post(bytes(size))
    head = b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return head + (b"10000\r\n" + bytes(65_536) + b"\r\n") * (size // 65_536 + 1) + b"0\r\n\r\n"


def wrong_place(r: Random) -> bytes:
    """Paths, methods, queries and encodings that are not there."""
    image = draw(r, "PNG")
    close = "Host: localhost\r\nConnection: close\r\n\r\n"
    return r.choice(
        [
            f"{r.choice(['GET', 'PUT', 'DELETE', 'PATCH'])} /predict HTTP/1.1\r\n{close}".encode(),
            f"{r.choice(['POST', 'PUT'])} /v2 HTTP/1.1\r\nContent-Length: 0\r\n{close}".encode(),
            f"GET /{r.choice(['x', '%00', '..%2f..%2fetc/passwd', '%ff%fe', 'v2/models/%0d%0a'])}"
            f" HTTP/1.1\r\n{close}".encode(),
            f"GET /static/{r.choice(['', '..', '../app.py', 'x.js', '%2e%2e/'])} HTTP/1.1\r\n"
            f"{close}".encode(),
            post(image, path=f"/predict?top={r.choice(['0', '-1', 'x', '1e9', '%00', ''])}"),
            post(image, path=f"/predict?seen={r.choice(['2', 'true', '%31%31'])}"),
            post(image, path="/v2/models/nobody/infer"),
            post(image, path="/predict/"),
            post(image, extra=f"Content-Encoding: {r.choice(['gzip', 'br', 'x'])}\r\n"),
        ]
    )


def no_http(r: Random) -> bytes:
    """What is not HTTP, or not sound."""
    return r.choice(
        [
            b"\x16\x03\x01" + r.randbytes(200) + b"\r\n\r\n",
            bytes(r.randint(1, 500)) + b"\r\n\r\n",
            b"HELLO\r\n\r\n",
            b"GET / HTTP/7.7\r\n\r\n",
            b"GET  / HTTP/1.1\r\n : x\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"x" * r.randint(20_000, 200_000) + b"\r\n\r\n",
            b"GET /" + b"x" * r.randint(20_000, 200_000) + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * r.randint(20_000, 40_000) + b"\r\n",
        ]
    )


def slow(r: Random) -> bytes:
    """The beginning of a request, after which nothing comes."""
    whole = post(draw(r, "PNG"))
    return whole[: r.randint(0, len(whole) - 1)]


def exchange(server: RunningServer, request: bytes) -> str:
    """Send a request; give its status, or how the connection ended."""
    try:
        with socket.create_connection((server.host, server.port), timeout=30) as connection:
            with contextlib.suppress(OSError):  # It may have answered before the end.
                connection.sendall(request)
            answer = b""
            while b"\r\n" not in answer and (part := connection.recv(4_096)):
                answer += part
    except TimeoutError:
        return "no answer within 30 s"
    except OSError:
        return "closed"
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "closed"


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a bundle, or the folder of a finished run")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=200, help="of them, by clients that stop")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    from burnish.bundle.model import load

    model = load(arguments.model)
    to_infer = Json(model.name, list(model.spec.shape))
    malformed: list[Maker] = [
        cut_png, cut_jpeg, bomb, lie, animate, other_format, wrong_form, to_infer.tensor,
        to_infer.shell, wrong_json, too_long, wrong_place, no_http,
    ]  # fmt: skip
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    lock = threading.Lock()

    def send(job: tuple[Maker, int]) -> None:
        maker, number = job
        status = exchange(server, maker(random.Random(f"{arguments.seed} {number}")))
        with lock:
            counts[maker.__name__][status] += 1

    quick = arguments.requests - arguments.slow
    jobs = [(malformed[number % len(malformed)], number) for number in range(quick)]
    perhaps = [(flip, number) for number in range(arguments.requests // 10)]
    stopped = [(slow, number) for number in range(arguments.slow)]
    with (
        tempfile.TemporaryFile("w+") as log,
        start_server(arguments.model, errors=log) as server,
        ThreadPoolExecutor(arguments.clients) as pool,
        ThreadPoolExecutor(max(1, arguments.slow)) as slow_pool,
    ):
        before, started = server.resident_megabytes(), time.perf_counter()
        waiting = slow_pool.map(send, stopped)
        list(pool.map(send, jobs + perhaps))
        list(waiting)
        seconds, after = time.perf_counter() - started, server.resident_megabytes()
        alive = server.process.poll() is None
        good = exchange(server, post(draw(random.Random(0), "PNG")))
        log.seek(0)
        said = log.read()

    bad = 0
    for kind, found in counts.items():
        print(f"{kind:14} " + "   ".join(f"{status}: {n}" for status, n in sorted(found.items())))
        allowed = {"200"} if kind == flip.__name__ else set()
        allowed |= {"closed"} if kind in (no_http.__name__, too_long.__name__) else set()
        bad += sum(
            n
            for status, n in found.items()
            if not (status in allowed or status == "503" or status.startswith("4"))
        )
    total = sum(sum(found.values()) for found in counts.values())
    print(f"{total} requests in {seconds:.1f} s; memory {before:.0f} -> {after:.0f} MB")
    print(f"server up: {alive}; then a good request: {good}; its log: {len(said)} characters")
    print(f"answers that are neither 4xx nor 503: {bad}")
    if bad or not alive or good != "200":
        print(said[-2_000:])
        raise SystemExit(1)


if __name__ == "__main__":
    main()
