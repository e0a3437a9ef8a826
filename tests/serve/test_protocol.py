from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from burnish.bundle.model import Model

from .bundles import NAMES, draw_band

FLAT = draw_band(4).ravel().tolist()
INFER = "/v2/models/bands/infer"


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "UINT8", "shape": [1, 20, 20, 1], "data": FLAT, **changes}


def test_the_server_and_its_health(client: httpx.Client) -> None:
    assert client.get("/v2").json()["name"] == "burnish"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize("path", ["/v2/models/bands", "/v2/models/bands/versions/1"])
def test_the_model_describes_itself(client: httpx.Client, path: str) -> None:
    said = client.get(path).json()
    assert (said["name"], said["versions"]) == ("bands", ["1"])
    assert said["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 20, 20, 1]}]
    first, second = said["outputs"]
    assert (first["name"], first["datatype"], first["shape"]) == ("probabilities", "FP32", [-1, 10])
    assert first["parameters"]["labels"] == list(NAMES)
    assert second == {"name": "label", "datatype": "BYTES", "shape": [-1]}
    assert client.get(f"{path}/ready").json() == {"name": "bands", "ready": True}


def test_flat_and_nested_tensors_give_what_the_model_gives(
    client: httpx.Client, bands: Model
) -> None:
    images = np.stack([draw_band(4), draw_band(9)])[..., np.newaxis]
    expected = bands.predict_arrays(images)
    for data in (images.ravel().tolist(), images.tolist()):
        request = {"id": "a", "inputs": [tensor(shape=[2, 20, 20, 1], data=data)]}
        said = client.post(INFER, json=request).raise_for_status().json()
        assert (said["model_name"], said["model_version"], said["id"]) == ("bands", "1", "a")
        probabilities, labels = said["outputs"]
        assert probabilities["shape"] == [2, 10]
        np.testing.assert_allclose(np.reshape(probabilities["data"], (2, 10)), expected, atol=1e-6)
        assert labels["data"] == ["band 4", "band 9"]


def test_only_the_outputs_that_are_asked_for_are_given(client: httpx.Client) -> None:
    request = {"inputs": [tensor()], "outputs": [{"name": "label"}]}
    said = client.post("/v2/models/bands/versions/1/infer", json=request).json()
    assert said["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["band 4"]}
    ]
    assert "id" not in said


@pytest.mark.parametrize(
    ("request_", "status", "part"),
    [
        ([], 400, "JSON object"),
        ({}, 400, "'inputs'"),
        ({"inputs": []}, 400, "'inputs'"),
        ({"inputs": [tensor(), tensor()]}, 400, "'inputs'"),
        ({"inputs": ["image"]}, 400, "'inputs'"),
        ({"inputs": [tensor()], "id": 7}, 400, "'id' is 7"),
        ({"inputs": [tensor(name="images")]}, 400, "named \"images\"; there is: 'image'"),
        ({"inputs": [tensor(datatype="FP32")]}, 400, "expected 'UINT8'"),
        ({"inputs": [tensor(shape=[1, 28, 28, 1])]}, 400, "[batch, 20, 20, 1]"),
        ({"inputs": [tensor(shape=[0, 20, 20, 1], data=[])]}, 400, "[batch, 20, 20, 1]"),
        ({"inputs": [tensor(shape=[True, 20, 20, 1])]}, 400, "[batch, 20, 20, 1]"),
        ({"inputs": [tensor(shape=[257, 20, 20, 1])]}, 413, "at most 256"),
        ({"inputs": [tensor(shape=[10**30, 20, 20, 1])]}, 413, "at most 256"),
        ({"inputs": [tensor(data=FLAT[:-1])]}, 400, "399 values"),
        ({"inputs": [tensor(data=[FLAT, FLAT[:3]])]}, 400, "nested unevenly"),
        ({"inputs": [tensor(data="abc")]}, 400, "list of whole numbers"),
        ({"inputs": [tensor(data=[256, *FLAT[1:]])]}, 400, "0 to 255"),
        ({"inputs": [tensor(data=[-1, *FLAT[1:]])]}, 400, "0 to 255"),
        ({"inputs": [tensor(data=[0.5, *FLAT[1:]])]}, 400, "0 to 255"),
        ({"inputs": [tensor(data=[10**40, *FLAT[1:]])]}, 400, "0 to 255"),
        ({"inputs": [tensor(data=[True] * 400)]}, 400, "0 to 255"),
        ({"inputs": [tensor(data=[None] * 400)]}, 400, "0 to 255"),
        ({"inputs": [tensor(data=["7"] * 400)]}, 400, "0 to 255"),
        ({"inputs": [tensor(data=[{}] * 400)]}, 400, "0 to 255"),
        ({"inputs": [tensor()], "outputs": "label"}, 400, "'outputs'"),
        ({"inputs": [tensor()], "outputs": [{"name": "logits"}]}, 400, "probabilities, label"),
        ({"inputs": [tensor()], "outputs": [{"name": ["label"]}]}, 400, "probabilities, label"),
    ],
)
def test_what_is_not_a_request_is_refused(
    client: httpx.Client, request_: Any, status: int, part: str
) -> None:
    answer = client.post(INFER, json=request_)
    assert answer.status_code == status, answer.text
    assert part in answer.json()["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5_000, b'{"inputs": [NaN]}']
)
def test_what_is_not_json_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post(INFER, content=body)
    assert answer.status_code == 400
    assert "error" in answer.json()


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/bands/versions/2", "/v2/models/other/ready"]
)
def test_models_and_versions_that_are_not_there(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "there is:" in answer.json()["error"]
