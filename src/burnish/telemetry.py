"""What dependencies would tell others of their use: switched off before they are imported.

burnish tells nobody anything. A package that reports its use by itself is imported behind
:func:`switch_off`, as it reads its variable only once, when it is loaded.
"""

from __future__ import annotations

import os

SWITCHES = {
    # Writes an identifier and a database of events into the user's cache, and sends them.
    "onnxruntime": ("ORT_DISABLE_TELEMETRY", "1"),
    # Asks a host for what to report when it is imported.
    "mlflow": ("MLFLOW_DISABLE_TELEMETRY", "true"),
    # A cluster that is started here would report what it has and runs.
    "ray": ("RAY_USAGE_STATS_ENABLED", "0"),
}
"""For each package that reports its use: the variable that stops it, and its value."""


def switch_off(package: str) -> None:
    """Keep a package from reporting its use, in this process and in those that it starts.

    Call it before the package's first import. What the variable said before does not count.

    Parameters
    ----------
    package
        One of :data:`SWITCHES`.
    """
    variable, value = SWITCHES[package]
    os.environ[variable] = value
