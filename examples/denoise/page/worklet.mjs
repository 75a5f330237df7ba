// On the thread of the sound: cleans what a microphone gives, and hands both to the page.
import { Gtcrn } from "./gtcrn.mjs";
import { SpectralStream } from "./spectral_stream.mjs";

const BLOCK = 128; // samples of a call of `process`, in every browser

class Cleaner extends AudioWorkletProcessor {
  #stream;

  constructor({ processorOptions }) {
    super();
    this.#stream = new SpectralStream(new Gtcrn(processorOptions), BLOCK);
  }

  process([[heard]], [[played]]) {
    if (heard !== undefined) {
      const clean = this.#stream.process(heard);
      played.set(clean);
      this.port.postMessage({ noisy: heard.slice(), clean: clean.slice() });
    }
    return true;
  }
}

registerProcessor("cleaner", Cleaner);
