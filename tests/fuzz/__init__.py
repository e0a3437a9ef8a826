"""Whatever bytes a file has, a parser reads it or says why not, in bounded time and memory.

`targets.py` has a function for each parser, `kept.py` what was found. `make test` gives them kept
inputs and some hundred random changes of good files; `make fuzz` lets atheris search, guided by
which lines were reached.
"""
