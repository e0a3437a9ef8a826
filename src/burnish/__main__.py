"""``python -m burnish``, and the command ``burnish``.

Nothing else is imported before Ctrl-C is provided for.
"""

import os
import sys

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
# 'python -m' imports from the working folder first: a numpy.py or random.py of somebody's own
# that lies there would be taken for the library. Where burnish itself lies there, it stays.
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != _HERE:
    del sys.path[0]

import signal  # noqa: E402

from burnish.interrupts import stop_on_signals  # noqa: E402


def main() -> None:
    """Run the command line."""
    try:
        with stop_on_signals():
            from burnish.cli import main as run

            run()
    finally:
        # All is done, and what Python still takes down is not to be interrupted.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
