// Steps an exported model in WebAssembly with the made-up input of main.c, and prints what it answers:
//
//     node step.mjs activity.wasm activity 1032 6 4
//
// The numbers are those of the header: bytes of a state, inputs and outputs of a timestep.
import { readFile } from "node:fs/promises";

const [path, name, stateBytes, inputs, outputs] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(await readFile(path), {});
const { memory, __heap_base: heap, [`${name}_step`]: step, [`${name}_reset`]: reset } = instance.exports;
memory.grow(1);

const state = (heap.value + 7) & ~7;
const x = state + Number(stateBytes);
const y = x + 4 * Number(inputs);
reset(state);
for (let t = 0; t < 10; t++) {
  const sample = new Float32Array(memory.buffer, x, Number(inputs));
  for (let i = 0; i < sample.length; i++) sample[i] = (((7 * t + 3 * i) % 11) - 5) / 8;
  const status = step(state, x, y);
  if (status !== 0) throw new Error(`status ${status}`);
  console.log([...new Float32Array(memory.buffer, y, Number(outputs))].join(" "));
}
