// Steps an exported model with the made-up input of its main.c, and prints what it answers:
//
//     node step.mjs activity.wasm activity 136 736 6 4
//
// The numbers are those of the header: bytes of a state and of scratch memory, numbers of an input and of an output.
import { readFile } from "node:fs/promises";
import { Model } from "./model.mjs";

const [path, name, stateBytes, scratchBytes, input, output] = process.argv.slice(2);
const sizes = { stateBytes: Number(stateBytes), scratchBytes: Number(scratchBytes), input: Number(input), output: Number(output) };
const model = await Model.load(await readFile(path), name, sizes);
for (let t = 0; t < 10; t++) {
  const sample = Array.from({ length: sizes.input }, (_, i) => (((7 * t + 3 * i) % 11) - 5) / 8);
  console.log(model.step(sample).join(" "));
}
