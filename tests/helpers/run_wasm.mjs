// Runs a WebAssembly program that puts out characters: node run_wasm.mjs program
import { readFile } from "node:fs/promises";

let printed = "";
const env = { put: (code) => (printed += String.fromCharCode(code)) };
const { instance } = await WebAssembly.instantiate(await readFile(process.argv[2]), { env });
process.exitCode = instance.exports.main();
process.stdout.write(printed);
