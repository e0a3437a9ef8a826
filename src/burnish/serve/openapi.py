"""The OpenAPI document of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.bundle.model import Model
from burnish.serve import protocol
from burnish.serve.limits import Limits
from burnish.version import __version__

_TEXT = {"type": "string"}
_INTEGER = {"type": "integer"}
_TENSOR = {
    "name": _TEXT,
    "datatype": _TEXT,
    "shape": {"type": "array", "items": _INTEGER},
}


def describe_api(model: Model, limits: Limits) -> dict[str, Any]:
    """Describe the service for a model, as an OpenAPI 3.1 document."""
    named = f"/v2/models/{model.name}"
    paths: dict[str, dict[str, Any]] = {
        "/predict": {"post": _predict(model, limits)},
        "/v2": {"get": _get("The server", "inference protocol", "server", "ServerMetadata")},
        "/v2/health/live": {"get": _get("Whether it runs", "inference protocol", "live", "Live")},
        "/v2/health/ready": {
            "get": _get(
                "Whether it takes requests", "inference protocol", "ready", "Ready", busy=True
            )
        },
        named: {"get": _get("The model", "inference protocol", "model", "ModelMetadata")},
        f"{named}/ready": {
            "get": _get("Whether the model is ready", "inference protocol", "modelReady", "Ready")
        },
        f"{named}/infer": {"post": _infer(model, limits)},
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "tags": ["operation"],
                "summary": "Counters for Prometheus",
                "responses": {"200": {"description": "text", "content": {"text/plain": {}}}},
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "tags": ["operation"],
                "summary": "This document",
                "responses": {"200": {"description": "JSON", "content": {"application/json": {}}}},
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{model.name}, served by burnish",
            "version": __version__,
            "description": (
                f"An image classifier of {len(model.class_names)} classes. Every error is a JSON "
                "object with the key `error`."
            ),
        },
        "paths": paths,
        "components": {"schemas": _schemas(model)},
    }


def _predict(model: Model, limits: Limits) -> dict[str, Any]:
    return {
        "operationId": "predict",
        "tags": ["images"],
        "summary": "Classify an image file",
        "description": (
            "The body is the image itself, a form with one file, or JSON with the file in base64. "
            "It is brought to "
            f"{model.spec.width} x {model.spec.height} pixels as the model's training images were. "
            f"At most {limits.body_bytes:,} bytes and {limits.pixels:,} pixels; PNG or JPEG; "
            "one frame."
        ),
        "parameters": [
            {
                "name": "top",
                "in": "query",
                "description": "how many of the most probable classes",
                "schema": {"type": "integer", "minimum": 1, "default": len(model.class_names)},
            },
            {
                "name": "seen",
                "in": "query",
                "description": "1: with the picture that the model saw, as a PNG",
                "schema": {"type": "integer", "enum": [0, 1], "default": 0},
            },
        ],
        "requestBody": {"required": True, "content": _image_bodies()},
        "responses": {
            "200": _json(
                "the classes, the most probable first; no label and a reason where there is no ink",
                "Prediction",
            ),
            **_errors(400, 408, 413, 415, 503),
        },
        "x-example": "curl --data-binary @image.png $SERVER/predict",
    }


def _image_bodies() -> dict[str, Any]:
    """The ways in which an image may be sent, by their media types."""
    picture = {"type": "string", "contentMediaType": "application/octet-stream"}
    coded = {
        "type": "string",
        "contentEncoding": "base64",
        "description": "the file in base64, or a data: address of it",
    }
    return {
        "image/png": {"schema": picture},
        "image/jpeg": {"schema": picture},
        "application/octet-stream": {"schema": picture},
        "multipart/form-data": {"schema": _object({"image": picture})},
        "application/json": {"schema": _object({"image": coded})},
    }


def _infer(model: Model, limits: Limits) -> dict[str, Any]:
    return {
        "operationId": "infer",
        "tags": ["inference protocol"],
        "summary": "Classify prepared images, as a tensor",
        "description": (
            f"The input '{protocol.INPUT}' is UINT8 [batch, {model.spec.height}, "
            f"{model.spec.width}, {model.spec.num_channels}], values 0 to 255, flat or nested; at "
            f"most {limits.batch} images. Outputs: 'probabilities' and 'label'."
        ),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("InferRequest")}},
        },
        "responses": {
            "200": _json("the outputs", "InferResponse"),
            **_errors(400, 404, 408, 413, 503),
        },
        "x-example": (
            'curl --json \'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": '
            f"[1, {model.spec.height}, {model.spec.width}, {model.spec.num_channels}], "
            '"data": [...]}]}\' '
            f"$SERVER/v2/models/{model.name}/infer"
        ),
    }


def _get(
    summary: str, tag: str, operation: str, schema: str, *, busy: bool = False
) -> dict[str, Any]:
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "responses": {"200": _json("the answer", schema), **(_errors(503) if busy else {})},
    }


def _schemas(model: Model) -> dict[str, Any]:
    return {
        "Prediction": _prediction(model),
        **_inference_schemas(),
        **_metadata_schemas(),
        "Live": _object({"live": {"type": "boolean"}}),
        "Ready": _object({"ready": {"type": "boolean"}}, {"name": _TEXT}),
        "Error": _object({"error": _TEXT}),
    }


def _prediction(model: Model) -> dict[str, Any]:
    """What ``POST /predict`` answers."""
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    label = {"type": "string", "enum": list(model.class_names)}
    return _object(
        {
            "model": _TEXT,
            "label": {"type": ["string", "null"], "enum": [*model.class_names, None]},
            "probability": {**probability, "type": ["number", "null"]},
            "classes": _list(_object({"label": label, "probability": probability})),
        },
        {
            "reason": {**_TEXT, "description": "why there is no label: no ink was found"},
            "seen": _object({"height": _INTEGER, "width": _INTEGER, "png": _TEXT}),
        },
    )


def _inference_schemas() -> dict[str, Any]:
    """What the inference protocol takes and answers of images."""
    tensors = _list(_ref("Tensor"))
    outputs = _list(_object({"name": {"enum": list(protocol.OUTPUTS)}}))
    return {
        "InferRequest": _object(
            {"inputs": {**tensors, "minItems": 1, "maxItems": 1}},
            {"id": _TEXT, "outputs": outputs},
        ),
        "InferResponse": _object(
            {"model_name": _TEXT, "model_version": _TEXT, "outputs": tensors},
            {"id": _TEXT, "parameters": _object({}, {"reason": _TEXT})},
        ),
        "Tensor": _object({**_TENSOR, "data": {"type": "array"}}),
    }


def _metadata_schemas() -> dict[str, Any]:
    """What the inference protocol says of the server and its model."""
    tensors = _list(_ref("TensorMetadata"))
    return {
        "TensorMetadata": _object(_TENSOR),
        "ServerMetadata": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
        "ModelMetadata": _object(
            {
                "name": _TEXT,
                "versions": _list(_TEXT),
                "platform": _TEXT,
                "inputs": tensors,
                "outputs": tensors,
            }
        ),
    }


_STATUS = {
    400: "the request or the image is malformed",
    404: "there is no such model or version",
    408: "the request did not arrive in time",
    413: "the body, the image or the batch is too large",
    415: "the image is neither PNG nor JPEG",
    503: "the queue is full; Retry-After says when to try again",
}


def _errors(*statuses: int) -> dict[str, Any]:
    return {str(status): _json(_STATUS[status], "Error") for status in statuses}


def _json(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": _ref(schema)}},
    }


def _ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }
