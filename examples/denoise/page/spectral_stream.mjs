// The streaming transform of spectral_stream.py: frames, a network between the transform and its inverse, overlap-add.
import { RealFourier } from "./fourier.mjs";

const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));

export class SpectralStream {
  #network;
  #fourier;
  #frame; // the newest samples, with room for the next hop at its end
  #overlap; // sums of frames; the first hop of them is complete
  #synthesis;
  #gathered = 0; // of the next hop
  #finished; // samples that wait to be handed out

  // Give back as many samples as are taken, `delay` later; `network` has a window, a hop and `enhance`, and all blocks
  // are of `block` samples, or of a multiple.
  constructor(network, block = 1) {
    const size = network.window.length;
    const granule = divisor(block, network.hop);
    this.delay = size - granule;
    this.#network = network;
    this.#fourier = new RealFourier(size);
    this.#frame = new Float32Array(size);
    this.#overlap = new Float32Array(size);
    this.#synthesis = synthesisWindow(network.window, network.hop);
    this.#finished = new Float32Array(network.hop - granule);
  }

  process(samples) {
    const { hop } = this.#network;
    const parts = [this.#finished];
    for (let taken = 0; taken < samples.length; ) {
      const piece = samples.subarray(taken, taken + hop - this.#gathered);
      this.#frame.set(piece, this.#frame.length - hop + this.#gathered);
      this.#gathered += piece.length;
      taken += piece.length;
      if (this.#gathered === hop) parts.push(this.#nextHop());
    }
    const ready = concatenated(parts);
    this.#finished = ready.slice(samples.length);
    return ready.subarray(0, samples.length);
  }

  // Return the samples that are still inside, as if silence followed.
  flush() {
    return this.process(new Float32Array(this.delay));
  }

  #nextHop() {
    const { window, hop } = this.#network;
    const spectrum = this.#fourier.forward(this.#frame.map((sample, i) => sample * window[i]));
    const samples = this.#fourier.inverse(this.#network.enhance(spectrum));
    samples.forEach((sample, i) => (this.#overlap[i] += Math.fround(sample * this.#synthesis[i])));
    const finished = this.#overlap.slice(0, hop);
    for (const buffer of [this.#overlap, this.#frame]) {
      buffer.copyWithin(0, hop);
      buffer.fill(0, buffer.length - hop);
    }
    this.#gathered = 0;
    return finished;
  }
}

// The window for the way back: window / sum of the squares of all windows that cover a sample.
function synthesisWindow(window, hop) {
  const covering = new Float64Array(hop);
  window.forEach((weight, i) => (covering[i % hop] += weight * weight));
  return window.map((weight, i) => weight / covering[i % hop]);
}

export function concatenated(parts) {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((place, part) => (whole.set(part, place), place + part.length), 0);
  return whole;
}
