// The drawing area: strokes by mouse, finger, pen or keyboard, kept as points so that each
// can be undone, and drawn twice: for the eye in the page's colours, and for the model in
// black on white.

const SIDE = 280; // In the unit of all points.
const SHEET = 112; // Of the picture that is sent, in pixels; the model sees 28.
const PEN = 21; // Width of a stroke, about that of a MNIST digit that fills the area.
const STEP = 14;
const SMALL_STEP = 4;

export class Pad {
  // `changed` is called after every change.
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.strokes = [];
    this.picture = null; // An image that was opened, instead of strokes.
    this.pointer = null; // The pointer that draws; others, such as a palm, are ignored.
    this.cursor = null; // The keyboard's pen: {x, y, down}.
    this.sheet = document.createElement("canvas");
    this.sheet.width = this.sheet.height = SHEET;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.end(event));
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.leave());
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.resize();
  }

  get empty() {
    return this.strokes.length === 0 && this.picture === null;
  }

  undo() {
    if (this.picture) this.picture = null;
    else this.strokes.pop();
    this.lift();
    this.update();
  }

  clear() {
    this.strokes = [];
    this.picture = null;
    this.lift();
    this.update();
  }

  // Shows a picture (an ImageBitmap) instead of strokes.
  show(picture) {
    this.strokes = [];
    this.picture = picture;
    this.update();
  }

  // The strokes as a PNG, black on white.
  async toBlob() {
    const context = this.sheet.getContext("2d");
    context.setTransform(SHEET / SIDE, 0, 0, SHEET / SIDE, 0, 0);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, SIDE, SIDE);
    this.ink(context, "#000");
    return new Promise((resolve) => this.sheet.toBlob(resolve, "image/png"));
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * SIDE,
      ((event.clientY - box.top) / box.height) * SIDE,
    ];
  }

  begin(event) {
    if (event.button !== 0 || this.pointer !== null) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true, focusVisible: false });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.cursor = null;
    this.picture = null;
    this.strokes.push([this.point(event)]);
    this.update();
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    // A fast pen moves several times between two frames.
    const moves = event.getCoalescedEvents?.() ?? [];
    const stroke = this.strokes.at(-1);
    for (const move of moves.length ? moves : [event]) stroke.push(this.point(move));
    this.update();
  }

  end(event) {
    if (event.pointerId === this.pointer) this.pointer = null;
  }

  key(event) {
    if (event.altKey || this.pointer !== null) return;
    const undoes = event.key === "Backspace" || ((event.ctrlKey || event.metaKey) && event.key === "z");
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (undoes) this.undo();
    else if (event.ctrlKey || event.metaKey) return;
    else if (event.key === "Escape" || event.key === "Delete") this.clear();
    else if (event.key === " ") this.togglePen();
    else if (event.key in moves) this.movePen(...moves[event.key], event.shiftKey ? SMALL_STEP : STEP);
    else return;
    event.preventDefault();
  }

  togglePen() {
    this.cursor ??= { x: SIDE / 2, y: SIDE / 2, down: false };
    this.cursor.down = !this.cursor.down;
    if (this.cursor.down) {
      this.picture = null;
      this.strokes.push([[this.cursor.x, this.cursor.y]]);
    }
    this.update();
  }

  movePen(right, down, step) {
    this.cursor ??= { x: SIDE / 2, y: SIDE / 2, down: false };
    const within = (value) => Math.min(SIDE - PEN / 2, Math.max(PEN / 2, value));
    this.cursor.x = within(this.cursor.x + right * step);
    this.cursor.y = within(this.cursor.y + down * step);
    if (this.cursor.down) this.strokes.at(-1).push([this.cursor.x, this.cursor.y]);
    if (this.cursor.down) this.update();
    else this.draw();
  }

  lift() {
    this.pointer = null;
    if (this.cursor) this.cursor.down = false;
  }

  leave() {
    this.lift();
    this.cursor = null;
    this.draw();
  }

  update() {
    this.draw();
    this.changed();
  }

  resize() {
    const side = Math.round(this.canvas.clientWidth * devicePixelRatio);
    if (side && side !== this.canvas.width) this.canvas.width = this.canvas.height = side;
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const scale = this.canvas.width / SIDE;
    const style = getComputedStyle(document.documentElement);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, SIDE, SIDE);
    if (this.picture) {
      const { width, height } = this.picture;
      const ratio = Math.min(SIDE / width, SIDE / height);
      const [w, h] = [width * ratio, height * ratio];
      context.drawImage(this.picture, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
    }
    this.ink(context, style.getPropertyValue("--pen"));
    if (this.cursor) {
      context.strokeStyle = style.getPropertyValue("--accent");
      context.lineWidth = this.cursor.down ? 4 : 2;
      context.beginPath();
      context.arc(this.cursor.x, this.cursor.y, PEN / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // Draws all strokes, each as a smooth line through the middles of its segments.
  ink(context, colour) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      const [first, ...rest] = stroke;
      context.beginPath();
      if (rest.length === 0) {
        context.arc(...first, PEN / 2, 0, 2 * Math.PI);
        context.fill();
        continue;
      }
      context.moveTo(...first);
      rest.forEach(([x, y], index) => {
        const next = rest[index + 1];
        if (next) context.quadraticCurveTo(x, y, (x + next[0]) / 2, (y + next[1]) / 2);
        else context.lineTo(x, y);
      });
      context.stroke();
    }
  }
}
