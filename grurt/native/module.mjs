
export const { name, fingerprint, version, inputs, outputs, contexts, vocabularies } = description;

const ALIGNMENT = 16;
const STATUS = { [description.status.notFinite]: "holds a NaN or an infinity", [description.status.noSuchToken]: "is no token" };

const align = (address) => (address + ALIGNMENT - 1) & -ALIGNMENT;

// A linked module, and its memory. Streams share its weights and scratch memory: one of them is stepped at a time.
export class Model {
  #exports;
  #end;
  #spare = new Map();

  // Load the linked module: from its address, a response of `fetch`, or its bytes.
  static async load(source) {
    const found = typeof source === "string" || source instanceof URL ? await fetch(source) : source;
    const bytes = found instanceof Response ? await found.arrayBuffer() : found;
    const { instance } = await WebAssembly.instantiate(bytes, {});
    return new Model(instance.exports);
  }

  constructor(exports) {
    this.#exports = exports;
    this.#end = align(exports.__heap_base.value); // the compiled code allocates nothing
    this.scratch = this.allocate(description.scratchBytes);
    this.inputs = inputs.map((port) => this.allocate(port.tokens ? 8 : 4 * port.size));
    this.outputs = outputs.map((port) => this.allocate(4 * port.size));
  }

  get memory() {
    return this.#exports.memory.buffer;
  }

  floats(address, count) {
    return new Float32Array(this.memory, address, count);
  }

  call(what, ...values) {
    return this.#exports[`${name}_${what}`](...values);
  }

  allocate(bytes) {
    const address = this.#spare.get(bytes)?.pop() ?? this.#end;
    if (address === this.#end) this.#end = align(address + bytes);
    const missing = this.#end - this.memory.byteLength;
    if (missing > 0) this.#exports.memory.grow(Math.ceil(missing / 65536));
    return address;
  }

  release(address, bytes) {
    if (!this.#spare.has(bytes)) this.#spare.set(bytes, []);
    this.#spare.get(bytes).push(address);
  }

  // A new stream, at the initial state.
  stream() {
    return new Stream(this);
  }
}

// One sequence in progress.
export class Stream {
  #model;
  #address;
  #context = null; // the memory of one, once there has been any
  #isGiven = false;

  constructor(model) {
    this.#model = model;
    this.#address = model.allocate(description.stateBytes);
    this.reset();
  }

  // Go to the initial state.
  reset() {
    this.#model.call("reset", this.#own);
  }

  // Give back the memory; the stream is not used any more.
  free() {
    this.#model.release(this.#own, description.stateBytes);
    if (this.#context !== null) this.#model.release(this.#context, description.contextBytes);
    this.#address = this.#context = null;
  }

  get #own() {
    if (this.#address === null) throw new Error(`${name}: this stream has given back its memory`);
    return this.#address;
  }

  // Advance by one timestep. A value for each input, in their order: a token, or numbers. Returns the output, or, if
  // there are several, an object of them by name.
  step(...values) {
    const model = this.#model;
    if (values.length !== inputs.length) throw new TypeError(`step: expected ${inputs.length} inputs, got ${values.length}`);
    if (contexts.length > 0 && !this.#isGiven) throw new Error("step: expected a stream that was given its context");
    inputs.forEach((port, i) => write(model, port, model.inputs[i], values[i]));
    expectOk("step", model.call("step", this.#own, model.scratch, ...model.inputs, ...model.outputs));
    const found = outputs.map((port, i) => [port.name, model.floats(model.outputs[i], port.size).slice()]);
    return found.length > 1 ? Object.fromEntries(found) : found[0][1];
  }

  // What the stream remembers, as a snapshot in Python has it: `{ steps, values }`.
  get state() {
    return withFloats(this.#model, description.stateSize, (address) => {
      const steps = Number(this.#model.call("get_state", this.#own, address));
      return { steps, values: this.#model.floats(address, description.stateSize).slice() };
    });
  }

  set state({ steps, values }) {
    if (values.length !== description.stateSize) {
      throw new RangeError(`state: expected ${description.stateSize} numbers, got ${values.length}`);
    }
    withFloats(this.#model, description.stateSize, (address) => {
      this.#model.floats(address, description.stateSize).set(values);
      expectOk("state", this.#model.call("set_state", this.#own, BigInt(steps), address));
    });
  }

  // What the stream is given once, of a model that has contexts: an object of numbers by name, row by row.
  set context(given) {
    const model = this.#model;
    const numbers = contexts.map(({ name: each, shape, axis }) => checkedContext(each, shape, axis, given[each]));
    this.#context ??= model.allocate(description.contextBytes);
    this.#isGiven = false;
    const held = numbers.map(({ values }) => model.allocate(4 * values.length));
    numbers.forEach(({ values }, i) => model.floats(held[i], values.length).set(values));
    const parameters = numbers.flatMap(({ places }, i) => (places === null ? [held[i]] : [held[i], places]));
    const status = model.call("make_context", this.#context, model.scratch, ...parameters);
    numbers.forEach(({ values }, i) => model.release(held[i], 4 * values.length));
    expectOk("context", status);
    model.call("set_context", this.#own, this.#context);
    this.#isGiven = true;
  }

  // Read a prompt of at least one token, and yield the tokens behind it, as `grurt.Stream.generate` does. It goes on
  // from where the stream is, whose output with as many scores as there are tokens says what may come.
  *generate(prompt, { maxTokens, temperature = 1, topK = Infinity, topP = 1, seed = 0, stop = [] }) {
    const { generator } = description;
    if (generator === null || inputs.length > 1) throw new Error(`${name}: generate: expected a model that reads tokens only`);
    let { steps } = this.state;
    let answer;
    const read = (token) => {
      answer = this.step(inputs[0].tokens ? token : oneHot(token, inputs[0].size));
      steps++;
    };
    prompt.forEach(read);
    for (let count = 0; count < maxTokens; count++) {
      let scores = outputs.length > 1 ? answer[generator.output] : answer;
      if (generator.ofProbabilities) scores = scores.map(Math.log);
      const token = choose(scores, { temperature, topK, topP, number: temperature > 0 ? uniform(seed, steps) : 0 });
      yield { token, answer };
      if (stop.includes(token) || count + 1 === maxTokens) return;
      read(token);
    }
  }
}

function oneHot(token, size) {
  return Float32Array.from({ length: size }, (_, id) => (id === token ? 1 : 0));
}

function checkedContext(each, shape, axis, values) {
  const size = shape.reduce((product, length, i) => product * (i === axis ? 1 : length), 1);
  const places = axis === null ? 1 : values?.length / size;
  if (!(Number.isInteger(places) && values.length === places * size)) {
    throw new RangeError(`context: ${each}: expected ${shape.join(" by ")} numbers${axis === null ? "" : ", or fewer places"}`);
  }
  return { values, places: axis === null ? null : BigInt(places) };
}

function write(model, port, address, value) {
  if (port.tokens) {
    if (!Number.isInteger(value)) throw new TypeError(`${port.name}: expected a token, got ${value}`);
    new BigInt64Array(model.memory, address, 1)[0] = BigInt(value);
    return;
  }
  if (value.length !== port.size) throw new RangeError(`${port.name}: expected ${port.size} numbers, got ${value.length}`);
  model.floats(address, port.size).set(value);
}

function withFloats(model, count, use) {
  const address = model.allocate(4 * count);
  try {
    return use(address);
  } finally {
    model.release(address, 4 * count);
  }
}

function expectOk(what, status) {
  if (status !== 0) throw new RangeError(`${name}: ${what}: an input ${STATUS[status] ?? "has another size"}`);
}

// The tokens and texts of an input: see `grurt.Vocabulary`.
export class Vocabulary {
  #ids;

  constructor(known) {
    Object.assign(this, known);
    this.#ids = new Map(known.tokens.map((token, id) => [token, id]).filter(([token]) => token).reverse());
  }

  // The tokens of a text.
  encode(text) {
    const given = this.lowercase ? text.toLowerCase() : text;
    const kept = [...given].filter((character) => !this.removed.includes(character));
    const parts = this.split === "characters" ? kept : kept.join("").split(SPACE).filter((part) => part);
    return parts.map((part) => {
      const id = this.#ids.get(part) ?? this.unknown;
      if (id === null) throw new RangeError(`text: expected what is in the vocabulary, got ${JSON.stringify(part)}`);
      return id;
    });
  }

  // The text of tokens, without those of padding, start and end.
  decode(tokens) {
    const silent = [this.padding, this.start, this.end];
    const shown = tokens.filter((id) => !silent.includes(id)).map((id) => this.tokens[id]);
    return shown.join(this.split === "characters" ? "" : " ");
  }
}

const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/; // as Python has it

// Return a token of scores: the best, or, of a uniform number in [0, 1), one that is drawn.
export function choose(scores, { temperature, topK = Infinity, topP = 1, number }) {
  const largest = Math.max(...scores);
  if (!(temperature > 0)) return scores.indexOf(largest);
  const weights = Array.from(scores, (score) => Math.exp((score - largest) / temperature));
  const sum = (ids) => ids.reduce((total, id) => total + weights[id], 0);
  let ids = [...weights.keys()];
  if (topK < ids.length || topP < 1) {
    ids.sort((a, b) => scores[b] - scores[a] || a - b);
    ids = ids.slice(0, topK);
    const limit = topP * sum(ids);
    let [count, soFar] = [0, 0];
    while (count < ids.length && (soFar < limit || count === 0)) soFar += weights[ids[count++]];
    ids = ids.slice(0, count).sort((a, b) => a - b);
  }
  const target = number * sum(ids);
  let soFar = 0;
  return ids.find((id) => (soFar += weights[id]) > target) ?? ids.at(-1);
}

// The number in [0, 1) of a seed and a timestep: Philox4x32-10, as grurt has it.
export function uniform(seed, step) {
  const low = (value) => Number(BigInt.asUintN(32, BigInt(value)));
  let [k0, k1] = [low(seed), low(BigInt(seed) >> 32n)];
  let [c0, c1, c2, c3] = [low(step), low(BigInt(step) >> 32n), 0, 0];
  for (let round = 0; round < 10; round++) {
    const [a, b] = [0xd2511f53n * BigInt(c0), 0xcd9e8d57n * BigInt(c2)];
    [c0, c1, c2, c3] = [(low(b >> 32n) ^ c1 ^ k0) >>> 0, low(b), (low(a >> 32n) ^ c3 ^ k1) >>> 0, low(a)];
    [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
  }
  return ((c0 >>> 5) * 2 ** 26 + (c1 >>> 6)) / 2 ** 53;
}
