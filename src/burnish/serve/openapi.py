"""The OpenAPI document of the service."""

from __future__ import annotations

from typing import Any

from burnish import __version__
from burnish.bundle.model import Model
from burnish.serve import protocol
from burnish.serve.limits import Limits


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
    picture = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    form = {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {
                "image": {"type": "string", "contentMediaType": "application/octet-stream"}
            },
        }
    }
    coded = {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {
                "image": {
                    "type": "string",
                    "contentEncoding": "base64",
                    "description": "the file in base64, or a data: address of it",
                }
            },
        }
    }
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
        "requestBody": {
            "required": True,
            "content": {
                "image/png": picture,
                "image/jpeg": picture,
                "application/octet-stream": picture,
                "multipart/form-data": form,
                "application/json": coded,
            },
        },
        "responses": {
            "200": _json(
                "the classes, the most probable first; no label and a reason where there is no ink",
                "Prediction",
            ),
            **_errors(400, 408, 413, 415, 503),
        },
        "x-example": "curl --data-binary @image.png $SERVER/predict",
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
    text = {"type": "string"}
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    label = {"type": "string", "enum": list(model.class_names)}
    no_label = {"type": ["string", "null"], "enum": [*model.class_names, None]}
    no_probability = {**probability, "type": ["number", "null"]}
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": text,
            "datatype": text,
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array"},
        },
    }
    metadata = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": text,
            "datatype": text,
            "shape": {"type": "array", "items": {"type": "integer"}},
        },
    }
    tensors = {"type": "array", "items": _ref("Tensor")}
    return {
        "Prediction": _object(
            {
                "model": text,
                "label": no_label,
                "probability": no_probability,
                "classes": {
                    "type": "array",
                    "items": _object({"label": label, "probability": probability}),
                },
            },
            {
                "reason": {**text, "description": "why there is no label: no ink was found"},
                "seen": _object(
                    {"height": {"type": "integer"}, "width": {"type": "integer"}, "png": text}
                ),
            },
        ),
        "InferRequest": _object(
            {"inputs": {**tensors, "minItems": 1, "maxItems": 1}},
            {
                "id": text,
                "outputs": {
                    "type": "array",
                    "items": _object({"name": {"enum": list(protocol.OUTPUTS)}}),
                },
            },
        ),
        "InferResponse": _object(
            {"model_name": text, "model_version": text, "outputs": tensors},
            {"id": text, "parameters": _object({}, {"reason": text})},
        ),
        "Tensor": tensor,
        "TensorMetadata": metadata,
        "ServerMetadata": _object(
            {"name": text, "version": text, "extensions": {"type": "array", "items": text}}
        ),
        "ModelMetadata": _object(
            {
                "name": text,
                "versions": {"type": "array", "items": text},
                "platform": text,
                "inputs": {"type": "array", "items": _ref("TensorMetadata")},
                "outputs": {"type": "array", "items": _ref("TensorMetadata")},
            }
        ),
        "Live": _object({"live": {"type": "boolean"}}),
        "Ready": _object({"ready": {"type": "boolean"}}, {"name": text}),
        "Error": _object({"error": text}),
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


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }
