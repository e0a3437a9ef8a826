"""The version, in a module that imports nothing: parts of burnish need no more of the package."""

__version__ = "0.1.0"
