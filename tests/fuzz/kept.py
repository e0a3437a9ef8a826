"""Inputs that once made a parser fail: found by fuzzing, or thought out. By target."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "kept_files"
"""Of larger ones, each called after its target and what was wrong."""

KEPT: dict[str, list[bytes]] = {
    "study": [
        # Lists or tables within each other, without end.
        b"a = " + b"[" * 5000,
        b".".join([b"a"] * 5000) + b" = 1",
        # A list of 40 options was compared with itself in 2 to the 40 steps.
        b'[study]\nname = "s"\n[data]\nsource = "digits"\nsplit = {train = 0.8, val = 0.2}\n'
        b'[[stage]]\nname = "a"\nkind = "tune"\nmodel = "fnn"\n[stage.space]\n'
        b"hidden_layer_size = [" + b",".join(b"%d" % n for n in range(1, 41)) + b"]\n",
        # Ranges with more values than there is memory.
        b'[study]\nname = "s"\n[data]\nsource = "digits"\nsplit = {train = 0.8, val = 0.2}\n'
        b'[[stage]]\nname = "a"\nkind = "tune"\nmodel = "fnn"\n[stage.space]\n'
        b"hidden_layer_size = {low = 1, high = 1_000_000_000_000_000}\n",
        b'[study]\nname = "s"\n[data]\nsource = "digits"\nsplit = {train = 0.8, val = 0.2}\n'
        b'[[stage]]\nname = "a"\nkind = "tune"\nmodel = "fnn"\n[stage.space]\n'
        b"learning_rate = {low = 0.001, high = 0.1, step = 1e-320}\n",
        # Python shows no whole number of so many digits.
        b"[study]\nname = 0x" + b"f" * 5000 + b"\n[data]\n",
        # Nobody is called so.
        b'[study]\nname = "s"\n[data]\npath = "~nobody-is-called-so/x"\n',
        b'[study]\nname = "s"\n[data]\npath = "a\\u0000b"\n',
    ],
    "contract": [b"[" * 100_000, b'{"format":2,"study":' + b"[" * 50_000],
    "csv": [
        b"path,label\na.png," + b"1" * 5000 + b"\nb.png,2\n",
        b"path,label\n" + b"".join(b"%d.png,%d\n" % (n, n) for n in range(10_001)),
        b"path,label\n" + b"x" * (2**20 + 1),
    ],
    "idx": [
        # No pixels, in a shape that NumPy has no place for.
        b"\0\0\x08\x03\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\x08\x08" + b"\0\0\0\0" + b"\xff" * 28,
    ],
}

# parquet-histogram: pyarrow ends the process when it is asked of such a column.
for _path in sorted(FOLDER.iterdir()):
    KEPT.setdefault(_path.name.partition("-")[0], []).append(_path.read_bytes())
