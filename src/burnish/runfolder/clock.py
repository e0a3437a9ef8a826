"""The time, as a run folder keeps it."""

from __future__ import annotations

import time


def now() -> str:
    """The time in UTC, as ISO 8601 with seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
