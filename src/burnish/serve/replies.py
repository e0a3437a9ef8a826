"""Answers in JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from burnish.serve.limits import RefusalError


def reply(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON, which no cache keeps."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(
        body,
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def refuse(refusal: RefusalError) -> Response:
    """Answer with an error, in the form that the Open Inference Protocol gives."""
    return reply({"error": refusal.message}, refusal.status, refusal.headers)
