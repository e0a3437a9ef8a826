from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..serve.browser import Browser, find_chromium, open_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, where one is installed."""
    command = find_chromium()
    if command is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with open_browser(command) as one:
        yield one
