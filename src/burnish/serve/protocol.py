"""The Open Inference Protocol, version 2, over REST: tensors in JSON.

Source: github.com/kserve/open-inference-protocol, ``inference_rest.md``. Images that
are prepared already go in as ``image`` (UINT8, batch x height x width x channels); what comes out
is ``probabilities`` (FP32, batch x classes) and ``label`` (BYTES, batch). The protocol has no
null: an image in which there is nothing to classify gets an empty label and zeros, and the answer
names it in ``parameters.reason``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.bundle.model import Model
from burnish.image import NO_INK, InputSpec
from burnish.serve.limits import Limits, RefusalError

INPUT = "image"
OUTPUTS = ("probabilities", "label")
VERSION = "1"
"""The version of every model: a server serves one bundle, which never changes."""


@dataclass(frozen=True)
class InferRequest:
    """A checked request: uint8 images (batch, height, width, channels), and what to give."""

    id: str | None
    images: NDArray[np.uint8]
    outputs: tuple[str, ...]


def describe_server(version: str) -> dict[str, Any]:
    """Answer ``GET /v2``."""
    return {"name": "burnish", "version": version, "extensions": []}


def describe_model(model: Model) -> dict[str, Any]:
    """Answer ``GET /v2/models/{name}``."""
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": [_describe_input(model.spec)],
        "outputs": [
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": [-1, len(model.class_names)],
                "parameters": {"labels": list(model.class_names)},
            },
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    }


def _describe_input(spec: InputSpec) -> dict[str, Any]:
    """Describe the tensor; of data of more than 8 bits, which values are 0 and 255 in it."""
    described = {"name": INPUT, "datatype": "UINT8", "shape": [-1, *spec.shape]}
    return described if spec.range is None else described | {"parameters": {"range": spec.range}}


def read_infer(body: bytes, model: Model, limits: Limits) -> InferRequest:
    """Read the body of ``POST /v2/models/{name}/infer``.

    Raises
    ------
    RefusalError
        400 if it is not JSON, or names, types, shapes or values are not the model's; 413
        if the batch is too large.
    """
    request = _read_object(body)
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise RefusalError(400, f"'id' is {_show(identity)}; expected a string")
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RefusalError(400, f"'inputs' must be a list of one tensor, '{INPUT}'")
    return InferRequest(
        identity, _read_images(inputs[0], model, limits), _read_outputs(request.get("outputs"))
    )


def describe_answer(
    model: Model, request: InferRequest, probabilities: NDArray[np.float32]
) -> dict[str, Any]:
    """Lay out probabilities (batch, classes) as ``POST /v2/models/{name}/infer`` answers."""
    blank = model.find_blank(request.images)
    probabilities = np.where(blank[:, np.newaxis], np.float32(0), probabilities)
    tensors: dict[str, dict[str, Any]] = {
        "probabilities": {
            "name": "probabilities",
            "datatype": "FP32",
            "shape": list(probabilities.shape),
            "data": probabilities.ravel().tolist(),
        },
        "label": {
            "name": "label",
            "datatype": "BYTES",
            "shape": [len(probabilities)],
            "data": [
                "" if is_blank else model.class_names[row.argmax()]
                for is_blank, row in zip(blank, probabilities, strict=True)
            ],
        },
    }
    answer: dict[str, Any] = {"model_name": model.name, "model_version": VERSION}
    if request.id is not None:
        answer["id"] = request.id
    if blank.any():
        places = ", ".join(map(str, np.flatnonzero(blank)))
        answer["parameters"] = {"reason": f"{NO_INK}: {places} of the batch, counted from 0"}
    return {**answer, "outputs": [tensors[name] for name in request.outputs]}


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except RecursionError:
        raise RefusalError(400, "the body is JSON that is nested too deeply") from None
    except ValueError as error:  # Also of bytes that are not UTF-8, and of endless numbers.
        raise RefusalError(400, f"the body is not JSON ({error})") from error
    if not isinstance(request, dict):
        raise RefusalError(400, "the body must be a JSON object with 'inputs'")
    return request


def _read_images(tensor: dict[str, Any], model: Model, limits: Limits) -> NDArray[np.uint8]:
    name, datatype = tensor.get("name"), tensor.get("datatype")
    if name != INPUT:
        raise RefusalError(400, f"the input is named {_show(name)}; there is: '{INPUT}'")
    if datatype != "UINT8":
        raise RefusalError(400, f"'{INPUT}' has datatype {_show(datatype)}; expected 'UINT8'")
    shape = tensor.get("shape")
    expected = model.spec.shape
    wanted = f"[batch, {', '.join(map(str, expected))}]"
    if (
        not isinstance(shape, list)
        or len(shape) != 4
        or any(type(size) is not int for size in shape)
        or tuple(shape[1:]) != expected
        or shape[0] < 1
    ):
        raise RefusalError(400, f"'{INPUT}' has shape {_show(shape)}; expected {wanted}")
    if shape[0] > limits.batch:
        raise RefusalError(
            413, f"a batch of {shape[0]} images; at most {limits.batch} in one request"
        )
    return _read_values(tensor.get("data"), tuple(shape))


def _read_values(data: object, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Numbers of a tensor, flat or nested as its shape is."""
    if not isinstance(data, list):
        raise RefusalError(
            400, f"'data' is {_show(data)}; expected a list of whole numbers 0 to 255"
        )
    try:
        values = np.asarray(data)
    except (ValueError, OverflowError, RecursionError):
        raise RefusalError(400, "'data' is nested unevenly") from None
    if values.shape != shape and values.shape != (math.prod(shape),):
        raise RefusalError(
            400,
            f"'data' has {values.size} values in shape {list(values.shape)}; expected "
            f"{math.prod(shape)}, flat or in shape {list(shape)}",
        )
    if values.dtype.kind != "i" or values.min() < 0 or values.max() > 255:
        raise RefusalError(400, "'data' must be whole numbers 0 to 255")
    return values.astype(np.uint8).reshape(shape)


def _read_outputs(outputs: object) -> tuple[str, ...]:
    if outputs is None or outputs == []:
        return OUTPUTS
    if not isinstance(outputs, list) or not all(isinstance(wish, dict) for wish in outputs):
        raise RefusalError(400, "'outputs' must be a list of objects with a 'name'")
    names = [wish.get("name") for wish in outputs]
    for name in names:
        if name not in OUTPUTS:
            raise RefusalError(
                400, f"the output {_show(name)} is unknown; there are: {', '.join(OUTPUTS)}"
            )
    return tuple(dict.fromkeys(names))


def _show(value: object) -> str:
    """A value as JSON, cut short: what a client sent goes back in no length it likes."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "nested too deeply"
    return text if len(text) <= 60 else text[:57] + "..."
