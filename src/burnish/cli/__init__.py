"""The command line: a module per group of commands, the options they share, and the entry.

Nothing heavy is imported before a command needs it: ``--help`` must not wait for TensorFlow.
"""

from burnish.cli.entry import app, main

__all__ = ["app", "main"]
