// A model that `grurt export --target wasm32` has exported and wasm-ld has linked, in Node and in browsers.
//
// `sizes` says what the C header says: bytes of a state and of scratch memory, and numbers of an input and an output.

export class Model {
  #exports;
  #name;
  #sizes;
  #state;
  #scratch;
  #x;
  #y;

  static async load(bytes, name, sizes) {
    const { instance } = await WebAssembly.instantiate(bytes, {});
    return new Model(instance.exports, name, sizes);
  }

  constructor(exports, name, sizes) {
    this.#exports = exports;
    this.#name = name;
    this.#sizes = sizes;
    // The exported code allocates nothing: its state, scratch memory, input and output go its weights and its stack.
    this.#state = (exports.__heap_base.value + 7) & ~7;
    this.#scratch = this.#state + sizes.stateBytes;
    this.#x = this.#scratch + sizes.scratchBytes;
    this.#y = this.#x + 4 * sizes.input;
    const missing = this.#y + 4 * sizes.output - exports.memory.buffer.byteLength;
    if (missing > 0) exports.memory.grow(Math.ceil(missing / 65536));
    this.reset();
  }

  // Go to the initial state.
  reset() {
    this.#exports[`${this.#name}_reset`](this.#state);
  }

  // Advance by one timestep, and return the output.
  step(sample) {
    const { memory, [`${this.#name}_step`]: step } = this.#exports;
    new Float32Array(memory.buffer, this.#x, this.#sizes.input).set(sample);
    const status = step(this.#state, this.#scratch, this.#x, this.#y);
    if (status !== 0) throw new Error(`${this.#name}_step: status ${status}`);
    return new Float32Array(memory.buffer, this.#y, this.#sizes.output).slice();
  }
}
