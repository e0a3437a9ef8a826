"""How pictures are drawn, and how they get into a page and beside it."""
