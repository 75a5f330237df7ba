// A recording from the microphone, cleaned while it is made.
import { Gtcrn } from "./gtcrn.mjs";
import { concatenated } from "./spectral_stream.mjs";

const AS_IT_IS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };

export class Microphone {
  #context;
  #tracks;
  #noisy = [];
  #clean = [];

  // Begin to record; with `audible`, what is clean is played meanwhile.
  static async open(network, { audible }) {
    const media = await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
    const context = new AudioContext({ sampleRate: Gtcrn.sampleRate });
    try {
      await context.audioWorklet.addModule("worklet.mjs");
      const options = { outputChannelCount: [1], channelCount: 1, channelCountMode: "explicit", processorOptions: network };
      const cleaner = new AudioWorkletNode(context, "cleaner", options);
      const microphone = new Microphone(context, media.getTracks(), cleaner);
      const volume = new GainNode(context, { gain: audible ? 1 : 0 }); // what leads nowhere might not be computed
      context.createMediaStreamSource(media).connect(cleaner).connect(volume).connect(context.destination);
      await context.resume();
      return microphone;
    } catch (error) {
      media.getTracks().forEach((track) => track.stop());
      await context.close();
      throw error;
    }
  }

  constructor(context, tracks, cleaner) {
    this.#context = context;
    this.#tracks = tracks;
    cleaner.port.onmessage = ({ data: { noisy, clean } }) => {
      this.#noisy.push(noisy);
      this.#clean.push(clean);
    };
  }

  // Stop, and return what was heard, and what was played.
  async close() {
    this.#tracks.forEach((track) => track.stop());
    await this.#context.close();
    return { noisy: concatenated(this.#noisy), clean: concatenated(this.#clean) };
  }
}
