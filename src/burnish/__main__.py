"""``python -m burnish``, and the command ``burnish``.

Nothing else is imported before Ctrl-C is provided for.
"""

import signal

from burnish.interrupts import stop_on_signals


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
