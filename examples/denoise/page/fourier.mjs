// The discrete Fourier transform of real signals whose length is a power of two, and its inverse.

export class RealFourier {
  #size;
  #cosines;
  #sines;
  #real;
  #imaginary;
  #reversed;

  constructor(size) {
    if (size < 2 || (size & (size - 1)) !== 0) throw new Error(`expected a power of two, got ${size}`);
    this.#size = size;
    this.#cosines = Float64Array.from({ length: size / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / size));
    this.#sines = Float64Array.from({ length: size / 2 }, (_, k) => Math.sin((2 * Math.PI * k) / size));
    this.#real = new Float64Array(size);
    this.#imaginary = new Float64Array(size);
    this.#reversed = new Uint16Array(size);
    for (let i = 1; i < size; i++) this.#reversed[i] = (this.#reversed[i >> 1] >> 1) | (i & 1 ? size >> 1 : 0);
  }

  // Return size / 2 + 1 bins, real and imaginary parts in turn.
  forward(samples) {
    const size = this.#size;
    for (let i = 0; i < size; i++) this.#real[this.#reversed[i]] = samples[i];
    this.#imaginary.fill(0);
    this.#butterflies();
    const spectrum = new Float32Array(size + 2);
    for (let k = 0; k <= size / 2; k++) {
      spectrum[2 * k] = this.#real[k];
      spectrum[2 * k + 1] = this.#imaginary[k];
    }
    return spectrum;
  }

  // Return the samples that have a spectrum. Imaginary parts of the first and last bin count for nothing.
  inverse(spectrum) {
    const size = this.#size;
    // A real signal's negative frequencies are conjugated, and so is the transform for the way back.
    for (let k = 0; k < size; k++) {
      const bin = k <= size / 2 ? k : size - k;
      const place = this.#reversed[k];
      this.#real[place] = spectrum[2 * bin];
      this.#imaginary[place] = k <= size / 2 ? -spectrum[2 * bin + 1] : spectrum[2 * bin + 1];
    }
    this.#butterflies();
    return Float32Array.from(this.#real, (sample) => sample / size);
  }

  // Cooley and Tukey's, in place, of what lies in bit-reversed order.
  #butterflies() {
    const [size, real, imaginary] = [this.#size, this.#real, this.#imaginary];
    for (let half = 1; half < size; half *= 2) {
      const stride = size / (2 * half);
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0; k < half; k++) {
          const cosine = this.#cosines[k * stride];
          const sine = this.#sines[k * stride];
          const upper = start + k;
          const lower = upper + half;
          const turnedReal = real[lower] * cosine + imaginary[lower] * sine;
          const turnedImaginary = imaginary[lower] * cosine - real[lower] * sine;
          real[lower] = real[upper] - turnedReal;
          imaginary[lower] = imaginary[upper] - turnedImaginary;
          real[upper] += turnedReal;
          imaginary[upper] += turnedImaginary;
        }
      }
    }
  }
}
