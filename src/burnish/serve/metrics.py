"""What ``/metrics`` tells Prometheus, of one worker process or of several together.

With several workers, each counts in files of one folder, which the environment variable
``PROMETHEUS_MULTIPROC_DIR`` names; whichever is asked adds them up. The variable must be set
before ``prometheus_client`` is first imported, which is why no other module here imports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one server process.

    Paths are those of routes, with parameters unfilled, and labels are the model's classes:
    no client can make up new series.
    """

    def __init__(self, model: str, class_names: tuple[str, ...]) -> None:
        self._shared = FOLDER_VARIABLE in os.environ
        self._registry = CollectorRegistry()
        # Of shared files, the collector reads them all: what is registered would count twice.
        registry = None if self._shared else self._registry
        if not self._shared:
            ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "burnish_requests",
            "Requests answered, by route and status.",
            ("path", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "burnish_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ("path",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._images = Counter(
            "burnish_images", "Images classified, by model.", ("model",), registry=registry
        )
        self._predictions = Counter(
            "burnish_predictions",
            "Images classified by POST /predict, by the most probable class.",
            ("model", "label"),
            registry=registry,
        )
        self._blank = Counter(
            "burnish_blank_images",
            "Images of POST /predict in which there was nothing to classify.",
            ("model",),
            registry=registry,
        )
        self._waiting = Gauge(
            "burnish_waiting",
            "Predictions that wait or run.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._model = model
        self._of_model = self._images.labels(model)
        self._of_blank = self._blank.labels(model)
        self._of_label = {name: self._predictions.labels(model, name) for name in class_names}
        self._of_request: dict[tuple[str, int], Callable[[], None]] = {}
        self._of_path: dict[str, Callable[[float], None]] = {}

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        # labels() looks names up under a lock: kept, a request costs half as much.
        key = (path, status)
        if key not in self._of_request:
            self._of_request[key] = self._requests.labels(path, str(status)).inc
            self._of_path[path] = self._seconds.labels(path).observe
        self._of_request[key]()
        self._of_path[path](seconds)

    def count_images(self, number: int) -> None:
        """Count classified images."""
        self._of_model.inc(number)

    def count_label(self, label: str | None) -> None:
        """Count an image's most probable class, or that there was nothing to classify."""
        (self._of_blank if label is None else self._of_label[label]).inc()

    def write(self, num_waiting: int) -> bytes:
        """Return all in Prometheus's text format."""
        self._waiting.set(num_waiting)
        if not self._shared:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def close(self) -> None:
        """Take this process's gauges out of the shared folder."""
        if self._shared:
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
