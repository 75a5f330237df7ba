// Steps an exported model with the made-up input of its main.c, and prints what it answers:
//
//     node step.mjs activity.mjs
//
// The linked module, activity.wasm, lies beside it.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const path = resolve(process.argv[2]);
const { Model, inputs, outputs } = await import(pathToFileURL(path));
const stream = (await Model.load(await readFile(path.replace(/mjs$/, "wasm")))).stream();
for (let t = 0; t < 10; t++) {
  const madeUp = ({ tokens, size }) =>
    tokens ? (7 * t) % size : Array.from({ length: size }, (_, i) => (((7 * t + 3 * i) % 11) - 5) / 8);
  const answer = stream.step(...inputs.map(madeUp));
  const numbers = outputs.length > 1 ? outputs.flatMap(({ name }) => [...answer[name]]) : [...answer];
  console.log(numbers.join(" "));
}
