// Streams samples to a session over WebSocket, at a rate, and counts the answers.

// Returns the rows of a CSV text: arrays of `size` finite numbers. The first line may be a header.
export function parseCsv(text, size) {
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  const rows = [];
  lines.forEach((line, index) => {
    const row = line.split(/[,;\t]/).map((field) => (field.trim() === "" ? NaN : Number(field)));
    if (index === 0 && row.some(Number.isNaN)) return;
    if (row.length !== size || !row.every(Number.isFinite)) {
      throw new Error(`line ${index + 1}: expected ${size} numbers, got ${line.slice(0, 60)}`);
    }
    rows.push(row);
  });
  if (!rows.length) throw new Error("expected a sample a line, got none");
  return rows;
}

export class Streaming {
  constructor(address, rows, rate, told) {
    this.told = told;
    this.rows = rows;
    this.sent = 0;
    this.answers = 0;
    this.socket = new WebSocket(address);
    this.socket.onmessage = ({ data }) => this._take(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this._end(reason || `the connection has ended (${code})`, code !== 1000);
    this.rate = rate;
  }

  stop() {
    this._end("stopped", false);
    this.socket.close(1000);
  }

  _take(message) {
    if (message.hello) {
      this.timer = setInterval(() => this._send(), 1000 / this.rate);
    } else if (message.error) {
      this._end(message.error.message, true);
      this.socket.close(1000);
    } else if (message.outputs) {
      this.answers++;
      this.told(`${this.answers} of ${this.rows.length} samples answered`, this.answers < this.rows.length, false);
      if (this.answers === this.rows.length) {
        this._end(`${this.answers} of ${this.rows.length} samples answered: done`, false);
        this.socket.close(1000);
      }
    }
  }

  _send() {
    if (this.sent < this.rows.length && this.sent - this.answers < 32) {
      this.socket.send(JSON.stringify(this.rows[this.sent++]));
    }
  }

  _end(text, isBad) {
    clearInterval(this.timer);
    if (this.told) this.told(text, false, isBad);
    this.told = null;
  }
}
