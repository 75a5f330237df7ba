// Reads what is typed, and goes on with it.
import { Model, Vocabulary, vocabularies } from "./writer.mjs";

const KINDS = ["Python", "English"];

const element = (id) => document.getElementById(id);
const say = (text) => (element("status").textContent = text);
const numberIn = (id) => element(id).valueAsNumber || 0;

// The text that a stream has read: what is typed behind it is read alone.
class Reader {
  #vocabulary = new Vocabulary(vocabularies.character);
  #stream;
  #read = [];
  #beforeLast = null;
  answer = null;

  constructor(model) {
    this.#stream = model.stream();
  }

  read(text) {
    const tokens = this.#vocabulary.encode(text);
    if (tokens.length < this.#read.length || this.#read.some((token, i) => token !== tokens[i])) {
      this.#stream.reset();
      this.#read = [];
      this.answer = null;
    }
    tokens.slice(this.#read.length).forEach((token, i, added) => {
      if (i + 1 === added.length) this.#beforeLast = this.#stream.state;
      this.answer = this.#stream.step(token);
    });
    this.#read = tokens;
  }

  // Return what may come behind the text. The stream stays where it is.
  goOn(options) {
    if (this.#read.length === 0) return "";
    const here = this.#stream.state;
    this.#stream.state = this.#beforeLast;
    const found = [...this.#stream.generate(this.#read.slice(-1), options)];
    this.#stream.state = here;
    return this.#vocabulary.decode(found.map(({ token }) => token));
  }
}

function show(reader) {
  const begin = performance.now();
  const typed = element("typed").value;
  reader.read(typed);
  KINDS.forEach((kind, i) => (element(kind).value = reader.answer?.kind[i] ?? 0.5));
  element("before").textContent = typed;
  const maxTokens = numberIn("count");
  const options = { maxTokens, temperature: numberIn("temperature"), seed: numberIn("seed") };
  element("behind").textContent = reader.goOn(options);
  say(`${maxTokens} characters in ${(performance.now() - begin).toFixed(0)} ms`);
}

async function main() {
  for (const kind of KINDS) {
    const label = document.createElement("label");
    label.append(`${kind} `, Object.assign(document.createElement("meter"), { id: kind, max: 1, value: 0.5 }));
    element("kinds").append(label);
  }
  const reader = new Reader(await Model.load("writer.wasm"));
  for (const id of ["typed", "temperature", "seed", "count"]) element(id).oninput = () => show(reader);
  element("again").onclick = () => {
    element("seed").value = numberIn("seed") + 1;
    show(reader);
  };
  element("typed").disabled = false;
  show(reader);
}

main().catch((error) => say(`The network cannot be loaded: ${error.message}`));
