from __future__ import annotations

import pytest

from burnish.errors import ServeError
from burnish.serve.limits import Limits, make_limits


def test_the_options_make_limits() -> None:
    limits = make_limits("100 MB", 9, ["http://localhost:5173", "https://A.example:443"])
    assert limits.body_bytes == 100_000_000
    assert limits.buffered_bytes == 200_000_000
    assert limits.pixels == 9
    assert limits.origins == {"http://localhost:5173", "https://a.example"}
    assert make_limits("16MiB", 64_000_000, []) == Limits()


@pytest.mark.parametrize(
    ("max_body", "origins", "said"),
    [
        ("16", [], "--max-body: '16' is no size"),
        ("1B", [], "--max-body: '1B' is no size"),
        ("0MB", [], "--max-body 0MB is out of range: expected 1 KiB to 1 GiB"),
        ("2GiB", [], "--max-body 2GiB is out of range"),
        ("1MB", ["localhost"], "--allow-origin: 'localhost' is no origin"),
    ],
)
def test_what_is_none_is_refused(max_body: str, origins: list[str], said: str) -> None:
    with pytest.raises(ServeError, match=said):
        make_limits(max_body, 1000, origins)
