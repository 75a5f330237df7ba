// Draws rows of numbers as lines that move to the left.

const LENGTH = 200;
const MOST_LINES = 8;

export class Chart {
  constructor(canvas, legend) {
    this.canvas = canvas;
    this.legend = legend;
    this.clear();
  }

  clear() {
    this.rows = [];
    this.names = [];
    this.legend.replaceChildren();
    this.draw();
  }

  // Adds rows: arrays of as many numbers as there are lines.
  add(rows, names) {
    this.rows.push(...rows);
    this.rows.splice(0, this.rows.length - LENGTH);
    if (names.join() !== this.names.join()) {
      this.names = names;
      this.legend.replaceChildren(...names.slice(0, MOST_LINES).map((name, index) => {
        const entry = document.createElement("b");
        entry.className = `c${index}`;
        entry.textContent = name;
        return entry;
      }));
    }
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const numbers = this.rows.flatMap((row) => row.slice(0, MOST_LINES)).filter(Number.isFinite);
    if (!numbers.length) return;
    const least = Math.min(...numbers), most = Math.max(...numbers);
    const y = (number) => height - 8 - (height - 16) * (most > least ? (number - least) / (most - least) : 0.5);
    const x = (index) => (index + LENGTH - this.rows.length) * width / (LENGTH - 1);
    const style = getComputedStyle(canvas);
    this._mark(pen, style, most, 11);
    this._mark(pen, style, least, height - 3);
    for (let line = 0; line < Math.min(this.rows[0].length, MOST_LINES); line++) {
      pen.strokeStyle = style.getPropertyValue(`--c${line}`);
      pen.lineWidth = 1.5;
      pen.beginPath();
      this.rows.forEach((row, index) => {
        if (Number.isFinite(row[line])) pen.lineTo(x(index), y(row[line]));
      });
      pen.stroke();
    }
  }

  _mark(pen, style, number, at) {
    pen.fillStyle = style.getPropertyValue("--quiet");
    pen.font = "11px system-ui, sans-serif";
    pen.fillText(number.toPrecision(3), 4, at);
  }
}
