"use strict";
// Without this script the page is whole; with it tables sort and curves hide.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const down = cell.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const numbers = Number(x) - Number(y);
        const order = Number.isNaN(numbers) ? x.localeCompare(y) : numbers;
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
}
for (const paper of document.querySelectorAll(".paper")) {
  const names = new Set([...paper.querySelectorAll("[data-series]")].map((g) => g.dataset.series));
  if (names.size < 2) continue;
  const bar = document.createElement("div");
  bar.className = "toggles";
  for (const name of names) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      for (const group of paper.querySelectorAll("[data-series]")) {
        if (group.dataset.series === name) group.style.display = box.checked ? "" : "none";
      }
    });
    label.append(box, " " + name);
    bar.append(label);
  }
  paper.append(bar);
}
