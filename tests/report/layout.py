"""How a page is laid out, as a browser has it: what is cut off."""

from __future__ import annotations

from pathlib import Path

from ..serve.browser import Browser

WIDTHS = (1280, 1024, 390)
"""Of a laptop, a tablet and a phone, in pixels."""

FIND_CUT = """(() => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  const found = [];
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth) found.push(`the page: ${page.scrollWidth}`);
  for (const table of document.querySelectorAll("table")) {
    if (!table.checkVisibility()) continue;
    let right = innerWidth;
    for (let box = table.parentElement; box; box = box.parentElement) {
      if (getComputedStyle(box).overflowX === "visible") continue;
      right = Math.min(right, box.getBoundingClientRect().left + box.clientLeft + box.clientWidth);
    }
    const heads = table.textContent.trim().slice(0, 40);
    if (table.getBoundingClientRect().right > right + 1) found.push(`a table: ${heads}`);
    for (const cell of table.querySelectorAll("tbody td, tbody th")) {
      const box = cell.getBoundingClientRect();
      const text = document.createRange();
      text.selectNodeContents(cell);
      const edge = Math.max(...[...text.getClientRects()].map((one) => one.right), 0);
      if (edge > box.right + 1) found.push(`a cell: ${cell.textContent.trim().slice(0, 40)}`);
    }
  }
  return found;
})()"""
"""Tables, cells and pages that are wider than there is room; with all that is folded away."""


def find_cut(browser: Browser, address: str | Path, width: int) -> list[str]:
    """Return what of a page is cut off, or must be scrolled to, at a width in pixels."""
    url = address.resolve().as_uri() if isinstance(address, Path) else address
    page = browser.open(url, width)
    if not isinstance(address, Path):
        page.wait_for("document.getElementById('live-stages').rows.length > 0")
    found: list[str] = page.evaluate(FIND_CUT)
    assert page.complaints() == []
    return found
