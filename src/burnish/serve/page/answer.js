// Asking the server, and showing what it says.

const MOST_ROWS = 12; // Of more classes, the most probable ones are shown.
const SPEAK_AFTER = 700; // Milliseconds of rest before a screen reader is told.

const find = (id) => document.getElementById(id);

// Sends the newest picture only: while one is under way, later ones replace each other.
export class Questions {
  constructor(answer) {
    this.answer = answer;
    this.busy = false;
    this.next = null;
  }

  // `make` gives the file to send, or a promise of it; it is called when its turn comes.
  ask(make) {
    this.next = make;
    if (!this.busy) this.run();
  }

  forget() {
    this.next = null;
    this.answer.clear();
  }

  async run() {
    this.busy = true;
    this.answer.table.ariaBusy = "true";
    while (this.next) {
      const make = this.next;
      this.next = null;
      try {
        const response = await fetch(`predict?seen=1&top=${this.answer.numRows}`, {
          method: "POST",
          headers: { "Content-Type": "application/octet-stream" },
          body: await make(),
        });
        const said = await response.json();
        if (response.status === 503) {
          this.answer.complain("The server is busy; trying again.");
          await new Promise((resolve) => setTimeout(resolve, 1000));
          this.next ??= make;
        } else if (!response.ok) {
          this.answer.complain(said.error);
        } else if (!this.answer.empty) {
          this.answer.show(said);
        }
      } catch {
        this.answer.complain("The server does not answer.");
      }
    }
    this.busy = false;
    this.answer.table.ariaBusy = "false";
  }
}

export class Answer {
  constructor() {
    this.table = find("bars");
    this.body = this.table.tBodies[0];
    this.classes = JSON.parse(this.table.dataset.classes);
    this.fixed = this.classes.length <= MOST_ROWS;
    this.numRows = Math.min(this.classes.length, MOST_ROWS);
    this.rows = Array.from({ length: this.numRows }, () => this.addRow());
    this.empty = true;
    this.clear();
  }

  addRow() {
    const row = this.body.insertRow();
    const head = document.createElement("th");
    const name = document.createElement("span");
    head.scope = "row";
    head.append(name);
    const [bar, value] = [document.createElement("td"), document.createElement("td")];
    const [track, fill] = [document.createElement("span"), document.createElement("span")];
    bar.className = "bar";
    value.className = "value";
    track.className = "track";
    fill.className = "fill";
    track.append(fill);
    bar.append(track);
    row.append(head, bar, value);
    return { row, name, fill, value };
  }

  clear() {
    this.empty = true;
    clearTimeout(this.timer);
    find("label").textContent = "–";
    find("sure").textContent = "nothing yet";
    find("spoken").textContent = "";
    find("seen").hidden = true;
    find("unseen").hidden = false;
    this.complain("");
    this.clearRows();
  }

  clearRows() {
    this.rows.forEach(({ row, name, fill, value }, index) => {
      row.className = "";
      name.textContent = this.fixed ? this.classes[index] : "–";
      fill.style.width = "0";
      value.textContent = "";
    });
  }

  show({ label, probability, classes, seen, reason }) {
    this.complain("");
    find("label").textContent = label ?? "–";
    find("sure").textContent = label === null ? reason : percent(probability);
    find("seen").src = seen.png;
    find("seen").hidden = false;
    find("unseen").hidden = true;
    if (label === null) this.clearRows();
    else this.showRows(label, classes);
    // While someone draws, a screen reader need not read every guess.
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      find("spoken").textContent = label === null ? reason : `${label}, ${percent(probability)}`;
    }, SPEAK_AFTER);
  }

  showRows(label, classes) {
    const shown = this.fixed
      ? this.classes.map((name) => classes.find((one) => one.label === name))
      : classes;
    shown.forEach((one, index) => {
      const { row, name, fill, value } = this.rows[index];
      row.className = one.label === label ? "first" : "";
      name.textContent = one.label;
      fill.style.width = `${100 * one.probability}%`;
      value.textContent = percent(one.probability);
    });
  }

  complain(text) {
    find("status").textContent = text;
  }
}

// Never 100 % or 0 %, which no model knows.
function percent(probability) {
  const value = 100 * probability;
  if (value > 99.9) return "> 99.9 %";
  if (value < 0.1) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
}
