from __future__ import annotations

import base64
import io
import json
import struct
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image

from .bundles import NAMES, draw_band, write_image

THREE = write_image(draw_band(3))


def make_png(width: int, height: int, data: bytes = b"") -> bytes:
    """A grey PNG that says it is of this size, whatever it holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body


def make_animation() -> bytes:
    stream = io.BytesIO()
    frames = [Image.fromarray(draw_band(number)) for number in range(3)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    return stream.getvalue()


@pytest.mark.parametrize("number", range(10))
def test_an_image_as_the_body_is_classified(client: httpx.Client, number: int) -> None:
    answer = client.post("/predict", content=write_image(draw_band(number))).raise_for_status()
    said = answer.json()
    assert said["model"] == "bands"
    assert said["label"] == NAMES[number]
    assert said["classes"][0] == {"label": NAMES[number], "probability": said["probability"]}
    probabilities = [one["probability"] for one in said["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert {one["label"] for one in said["classes"]} == set(NAMES)
    assert "seen" not in said


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("side", [20, 90, 1500])
def test_forms_and_sizes_and_formats_give_the_same_label(
    client: httpx.Client, format: str, side: int
) -> None:
    content = write_image(draw_band(7, side, side), format)
    for kwargs in ({"content": content}, {"files": {"whatever": ("x.bin", content)}}):
        answer = client.post("/predict", **kwargs)
        assert answer.status_code == 200, answer.text
        assert answer.json()["label"] == "band 7"


def test_a_form_may_have_fields_beside_its_file(client: httpx.Client) -> None:
    answer = client.post("/predict", data={"note": "three"}, files={"image": ("a.png", THREE)})
    assert answer.json()["label"] == "band 3"


def test_top_cuts_the_classes(client: httpx.Client) -> None:
    said = client.post("/predict?top=2", content=THREE).json()
    assert said["classes"][0]["label"] == "band 3"
    assert len(said["classes"]) == 2
    assert len(client.post("/predict?top=99", content=THREE).json()["classes"]) == 10


def test_seen_is_the_picture_that_the_model_saw(client: httpx.Client) -> None:
    seen = client.post("/predict?seen=1", content=THREE).json()["seen"]
    assert (seen["height"], seen["width"]) == (20, 20)
    head, _, data = seen["png"].partition(",")
    assert head == "data:image/png;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(picture, draw_band(3))


def webp() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(draw_band(1)).save(stream, "WEBP")
    return stream.getvalue()


JPEG = write_image(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8), "JPEG")


@pytest.mark.parametrize(
    ("content", "status", "parts"),
    [
        (b"", 400, ["empty", "PNG or JPEG"]),
        (b"hello", 415, ["neither PNG nor JPEG", "68 65 6c 6c 6f"]),
        (write_image(draw_band(1), "GIF"), 415, ["neither PNG nor JPEG"]),
        (write_image(draw_band(1), "BMP"), 415, ["neither PNG nor JPEG"]),
        (webp(), 415, ["neither PNG nor JPEG", "it is WebP"]),
        (b"\0\0\0\x18ftypheic" + bytes(90), 415, ["neither PNG nor JPEG", "it is HEIC"]),
        (make_animation(), 400, ["animated", "one frame"]),
        (make_png(50_000, 50_000), 413, ["50000x50000", "2,500,000,000", "64,000,000"]),
        (make_png(8_001, 8_000), 413, ["8001x8000", "scale it down"]),
        (make_png(0, 20), 400, ["0x20"]),
        (make_png(300, 300, b"\0"), 400, ["cut off or damaged"]),
        (THREE[:20], 400, ["without its head"]),
        (THREE[:45], 400, ["cut off or damaged"]),
        (JPEG[: len(JPEG) // 2], 400, ["cut off or damaged"]),
        (JPEG[:30], 400, ["without its head"]),
        (b"\xff\xd8\xff", 400, ["without its head"]),
    ],
)
def test_what_is_not_an_image_is_refused(
    client: httpx.Client, content: bytes, status: int, parts: list[str]
) -> None:
    for kwargs in ({"content": content}, {"files": {"image": ("a", content)}}):
        answer = client.post("/predict", **kwargs)
        if content or "content" in kwargs:
            assert answer.status_code == status, answer.text
            for part in parts:
                assert part in answer.json()["error"]
        else:
            assert answer.status_code == 400


def test_a_photograph_of_twelve_megapixels_is_answered(client: httpx.Client) -> None:
    content = write_image(draw_band(7, 3500, 3500), "JPEG")
    answer = client.post("/predict", content=content)
    assert answer.status_code == 200, answer.text
    assert answer.json()["label"] == "band 7"


CODED = base64.b64encode(THREE).decode()


@pytest.mark.parametrize(
    "image",
    [
        CODED,
        f"data:image/png;base64,{CODED}",
        f"DATA:;BASE64,{CODED}",
        "\n".join(CODED[at : at + 76] for at in range(0, len(CODED), 76)),
    ],
)
def test_an_image_in_json_is_classified(client: httpx.Client, image: str) -> None:
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        body = json.dumps({"image": image, "note": 1}).encode()
        answer = client.post("/predict", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
        assert answer.json()["label"] == "band 3"


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no text 'image'"),
        (b'{"image": 3}', "no text 'image'"),
        (b'{"picture": "aGk="}', "no text 'image'"),
        (b'{"image": ""}', "'image' is empty"),
        (b'{"image": "a*b="}', "not base64"),
        (b'{"image": "aGk"}', "not base64"),
        ('{"image": "h\u00e9"}'.encode(), "not base64"),
        (b'{"image": "data:image/png,xyz"}', "not in base64"),
        (b'{"image": "data:image/png;base64"}', "not in base64"),
        (b'{"image": "data:image/png;base64,"}', "'image' is empty"),
    ],
)
def test_json_without_an_image_is_refused_with_an_example(
    client: httpx.Client, body: bytes, part: str
) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert part in answer.json()["error"]
    assert 'expected {"image": "' in answer.json()["error"]


def form(*parts: bytes, boundary: bytes = b"b", end: bool = True) -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return body + (b"--" + boundary + b"--\r\n" if end else b"")


FILE = b'Content-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + THREE
FIELD = b'Content-Disposition: form-data; name="f"\r\n\r\nhello'


@pytest.mark.parametrize(
    ("body", "kind", "parts"),
    [
        (form(FILE), "multipart/form-data", ["boundary"]),
        (form(FILE), "multipart/mixed; boundary=b", ["multipart/form-data"]),
        (form(FILE), "multipart/form-data; boundary=c", ["malformed"]),
        (form(FIELD), "multipart/form-data; boundary=b", ["0 files"]),
        (form(FILE, FILE), "multipart/form-data; boundary=b", ["2 files"]),
        (form(FILE, end=False), "multipart/form-data; boundary=b", ["cut off"]),
        (form(*[FIELD] * 17), "multipart/form-data; boundary=b", ["more than 16 parts"]),
        (b"", "multipart/form-data; boundary=b", ["cut off"]),
        (b"rubbish", "multipart/form-data; boundary=b", ["malformed"]),
    ],
)
def test_a_form_that_is_wrong_is_refused(
    client: httpx.Client, body: bytes, kind: str, parts: list[str]
) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400, answer.text
    for part in parts:
        assert part in answer.json()["error"]


@pytest.mark.parametrize("query", ["top=0", "top=-1", "top=x", "top=1_0", "top=", "seen=yes"])
def test_a_wrong_query_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.post(f"/predict?{query}", content=THREE)
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["error"]


def test_other_ways_are_refused(client: httpx.Client) -> None:
    answer = client.get("/predict")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert "POST" in answer.json()["error"]
    answer = client.get("/nothing/here")
    assert answer.status_code == 404
    assert "/docs" in answer.json()["error"]
    answer = client.post("/predict", content=THREE, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
