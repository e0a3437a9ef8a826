
// What follows is only in the page that 'burnish watch' serves.
const version = document.documentElement.dataset.version;
const put = (row, text, right) => {
  const cell = row.insertCell();
  const heads = row.closest("table").tHead.rows[0].cells;
  if (cell.cellIndex > 0) cell.dataset.l = heads[cell.cellIndex].textContent;
  cell.textContent = text ?? "";
  cell.className = right ? "r" : "name";
};
const digits = (value, places) => (value === null || value === undefined ? "" : value.toFixed(places));
const drawCurve = (place, history) => {
  place.replaceChildren();
  if (history.length < 2) return;
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 640 190");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Loss by epoch of the fit that goes on");
  const losses = history.flatMap((row) => [row.train_loss, row.val_loss]).map(Math.log);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const last = history[history.length - 1].epoch;
  const x = (epoch) => 60 + (560 * epoch) / last;
  const y = (loss) => 15 + (140 * (high - Math.log(loss))) / (high - low || 1);
  const write = (text, left, top) => {
    const node = document.createElementNS(space, "text");
    for (const [key, value] of [["x", left], ["y", top], ["font-size", 12], ["fill", "currentColor"]]) node.setAttribute(key, value);
    node.textContent = text;
    svg.append(node);
  };
  write(Math.exp(high).toPrecision(2), 10, 20);
  write(Math.exp(low).toPrecision(2), 10, 158);
  write(`epoch 0 to ${last.toFixed(1)}; loss on a log scale: dashed training, full validation`, 60, 182);
  for (const [name, dash] of [["train_loss", "5 4"], ["val_loss", ""]]) {
    const line = document.createElementNS(space, "polyline");
    line.setAttribute("points", history.map((row) => `${x(row.epoch)},${y(row[name])}`).join(" "));
    line.setAttribute("fill", "none");
    line.setAttribute("stroke", "currentColor");
    line.setAttribute("stroke-width", 2);
    line.setAttribute("stroke-dasharray", dash);
    svg.append(line);
  }
  place.append(svg);
};
const look = async () => {
  let now;
  try {
    const answer = await fetch("live.json", { cache: "no-store" });
    if (!answer.ok) {
      document.getElementById("live-state").textContent = await answer.text();
      return setTimeout(look, 5000);
    }
    now = await answer.json();
  } catch {
    document.getElementById("live-state").textContent = "'burnish watch' has ended; this page stands still.";
    return setTimeout(look, 5000);
  }
  if (now.version !== version) return location.reload();
  document.getElementById("live-state").textContent = now.said;
  document.getElementById("live-bar").style.width = `${100 * now.share}%`;
  const stages = document.getElementById("live-stages");
  stages.replaceChildren();
  for (const stage of now.stages) {
    const row = stages.insertRow();
    put(row, stage.name);
    put(row, stage.kind);
    put(row, stage.state);
    put(row, digits(stage.val_loss, 4), true);
    put(row, stage.val_accuracy === null ? "" : `${(100 * stage.val_accuracy).toFixed(2)} %`, true);
    put(row, digits(stage.seconds, 1), true);
  }
  const trials = document.getElementById("live-trials");
  trials.hidden = now.trials.length === 0;
  trials.tBodies[0].replaceChildren();
  for (const trial of now.trials) {
    const row = trials.tBodies[0].insertRow();
    put(row, trial.number, true);
    put(row, trial.state);
    put(row, trial.epochs, true);
    put(row, digits(trial.loss, 4), true);
    put(row, Object.entries(trial.params).map(([name, value]) => `${name} ${value}`).join(", "));
  }
  drawCurve(document.getElementById("live-curve"), now.history);
  setTimeout(look, now.state === "running" ? 2000 : 10000);
};
look();
