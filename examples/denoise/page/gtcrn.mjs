// GTCRN, exported to WebAssembly: it reads and writes the real and imaginary part of every bin.
import { Model } from "./model.mjs";

const SIZE = 512;

export class Gtcrn {
  static sampleRate = 16000;
  #model;

  // Of the compiled module; the exported header says how many bytes a state and its scratch memory have.
  constructor({ module, sizes }) {
    const { exports } = new WebAssembly.Instance(module);
    this.#model = new Model(exports, "gtcrn", { ...sizes, input: SIZE + 2, output: SIZE + 2 });
    this.window = Float32Array.from({ length: SIZE }, (_, i) =>
      Math.sqrt(0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE)),
    );
    this.hop = SIZE / 2;
  }

  enhance(spectrum) {
    return this.#model.step(spectrum);
  }
}
