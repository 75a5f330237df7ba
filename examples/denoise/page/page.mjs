// Cleans the recording that comes with the page, one that is chosen, or what the microphone hears.
import { Gtcrn } from "./gtcrn.mjs";
import { Microphone } from "./microphone.mjs";
import { SpectralStream, concatenated } from "./spectral_stream.mjs";
import { draw } from "./spectrogram.mjs";
import { readAudio, wavFile } from "./wav.mjs";

const BLOCK = 160; // samples: 10 ms
const BLOCKS_BETWEEN_LOOKS = 100; // at what the user does meanwhile

const element = (id) => document.getElementById(id);
const say = (text) => (element("status").textContent = text);

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  return response;
}

// Return the samples, cleaned block by block, without the delay; with how many milliseconds that took.
async function cleaned(samples, network) {
  const stream = new SpectralStream(new Gtcrn(network), BLOCK);
  const parts = [];
  let spent = 0;
  const padded = new Float32Array(Math.ceil(samples.length / BLOCK) * BLOCK);
  padded.set(samples);
  for (let start = 0; start < padded.length; start += BLOCKS_BETWEEN_LOOKS * BLOCK) {
    const begin = performance.now();
    const end = Math.min(padded.length, start + BLOCKS_BETWEEN_LOOKS * BLOCK);
    for (let block = start; block < end; block += BLOCK) parts.push(stream.process(padded.subarray(block, block + BLOCK)));
    spent += performance.now() - begin;
    element("progress").value = end / padded.length;
    await new Promise((resolve) => setTimeout(resolve));
  }
  parts.push(stream.flush());
  return { clean: concatenated(parts).slice(stream.delay, stream.delay + samples.length), spent };
}

function show(name, recordings) {
  for (const [which, samples] of Object.entries(recordings)) {
    const audio = element(`${which}-audio`);
    URL.revokeObjectURL(audio.src);
    audio.src = URL.createObjectURL(wavFile(samples, Gtcrn.sampleRate));
    const seconds = (samples.length / Gtcrn.sampleRate).toFixed(1);
    element(which).setAttribute("aria-label", `Spectrogram of ${seconds} seconds, up to 8 kilohertz`);
    element(`${which}-end`).textContent = `${seconds} s`;
  }
  draw(Object.entries(recordings).map(([which, samples]) => ({ canvas: element(which), samples })));
  element("save").href = element("after-audio").src;
  element("save").download = `${name.replace(/\.[^.]*$/, "")}-clean.wav`;
  element("results").hidden = false;
}

async function clean(name, samples, network) {
  if (samples.length === 0) throw new Error(`${name} has no samples`);
  element("progress").hidden = false;
  const { clean: after, spent } = await cleaned(samples, network);
  element("progress").hidden = true;
  show(name, { before: samples, after });
  const seconds = samples.length / Gtcrn.sampleRate;
  const factor = spent / 1000 / seconds;
  const frame = (factor * 16).toFixed(2);
  say(`${name}: ${seconds.toFixed(1)} s of sound took ${spent.toFixed(0)} ms. Real-time factor ${factor.toFixed(3)}: ${frame} ms for each 16 ms.`);
}

let microphone = null;

// Do one thing at a time, and say what went wrong with it.
async function alone(what, work) {
  const others = [element("file"), element("sample"), element("audible")];
  [...others, element("record")].forEach((control) => (control.disabled = true));
  try {
    await work();
  } catch (error) {
    element("progress").hidden = true;
    say(`${what}: ${error.message}`);
  }
  element("record").disabled = false;
  others.forEach((control) => (control.disabled = microphone !== null));
}

const sample = async (network) => {
  await clean("noisy.wav", await readAudio(await fetched("noisy.wav"), Gtcrn.sampleRate), network);
};

const chosen = async (file, network) => {
  say(`Reading ${file.name} …`);
  const unreadable = () => Promise.reject(new Error("this browser cannot read it as sound"));
  await clean(file.name, await readAudio(file, Gtcrn.sampleRate).catch(unreadable), network);
};

const recorded = async (network) => {
  if (microphone === null) {
    say("Waiting for the microphone …");
    microphone = await Microphone.open(network, { audible: element("audible").checked });
    element("record").textContent = "Stop";
    say("Recording. Each answer is 32 ms late: as long as a frame.");
    return;
  }
  const { noisy, clean: after } = await microphone.close();
  microphone = null;
  element("record").textContent = "Record";
  if (noisy.length === 0) throw new Error("nothing was heard");
  show("recording.wav", { before: noisy, after });
  say(`${(noisy.length / Gtcrn.sampleRate).toFixed(1)} s were recorded, and cleaned as they came.`);
};

async function main() {
  const network = { module: await WebAssembly.compile(await (await fetched("network.wasm")).arrayBuffer()) };
  element("file").onchange = ({ target }) => {
    const [file] = target.files;
    if (file) alone(file.name, () => chosen(file, network));
  };
  element("sample").onclick = () => alone("noisy.wav", () => sample(network));
  element("record").onclick = () => alone("Microphone", () => recorded(network));
  await alone("noisy.wav", () => sample(network));
}

main().catch((error) => say(`The network cannot be loaded: ${error.message}`));
