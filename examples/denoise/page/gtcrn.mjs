// GTCRN, exported to WebAssembly: it reads and writes the real and imaginary part of every bin.
import { Model } from "./network.mjs";

const SIZE = 512;

export class Gtcrn {
  static sampleRate = 16000;
  #stream;

  // Of the compiled module.
  constructor({ module }) {
    this.#stream = new Model(new WebAssembly.Instance(module).exports).stream();
    this.window = Float32Array.from({ length: SIZE }, (_, i) =>
      Math.sqrt(0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE)),
    );
    this.hop = SIZE / 2;
  }

  enhance(spectrum) {
    return this.#stream.step(spectrum);
  }
}
