/** A value of an input or output at a timestep: `size` numbers, or a token below `size`. */
export interface Port {
  readonly name: string;
  readonly size: number;
  readonly tokens: boolean;
}

/** What a stream is given once: `shape`, of which the open axis, if there is one, may be shorter. */
export interface ContextPort {
  readonly name: string;
  readonly shape: readonly number[];
  readonly axis: number | null;
}

/** The outputs of a timestep. */
export type Answer = $(answer);

/** What streams are given once, row by row. */
export type Context = $(context);

/** What a stream remembers, as a snapshot in Python has it. */
export interface State {
  readonly steps: number;
  readonly values: Float32Array;
}

export interface Options {
  maxTokens: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number | bigint;
  stop?: readonly number[];
}

/** The name that the compiled functions begin with. */
export const name: string;
/** What identifies the model: its snapshots have it, too. */
export const fingerprint: string;
/** The release of grurt that has compiled it. */
export const version: string;
export const inputs: readonly Port[];
export const outputs: readonly Port[];
export const contexts: readonly ContextPort[];
/** What `Vocabulary` is made of, by the names of inputs. */
export const vocabularies: Readonly<Record<string, VocabularyDescription>>;

/** A linked module, and its memory. Streams share its weights and scratch memory: one of them is stepped at a time. */
export class Model {
  /** Load the linked module: from its address, a response of `fetch`, or its bytes. */
  static load(source: string | URL | Response | BufferSource): Promise<Model>;
  /** Of the exports of an instance. */
  constructor(exports: WebAssembly.Exports);
  /** A new stream, at the initial state. */
  stream(): Stream;
}

/** One sequence in progress. */
export class Stream {
  constructor(model: Model);
  /** Go to the initial state. */
  reset(): void;
  /** Advance by one timestep. */
  step($(inputs)): Answer;
  state: State;
  /** What the stream is given once, before its first timestep, or in place of another one. */
  set context(given: Context);
  /** Read a prompt of at least one token, and yield the tokens behind it, as `grurt.Stream.generate` does. */
  generate(prompt: readonly number[], options: Options): Generator<{ token: number; answer: Answer }, void>;
  /** Give back the memory; the stream is not used any more. */
  free(): void;
}

export interface VocabularyDescription {
  readonly tokens: readonly string[];
  readonly split: string;
  readonly lowercase: boolean;
  readonly removed: string;
  readonly unknown: number | null;
  readonly padding: number | null;
  readonly start: number | null;
  readonly end: number | null;
}

/** The tokens and texts of an input. */
export class Vocabulary implements VocabularyDescription {
  constructor(known: VocabularyDescription);
  readonly tokens: readonly string[];
  readonly split: string;
  readonly lowercase: boolean;
  readonly removed: string;
  readonly unknown: number | null;
  readonly padding: number | null;
  readonly start: number | null;
  readonly end: number | null;
  /** The tokens of a text. */
  encode(text: string): number[];
  /** The text of tokens, without those of padding, start and end. */
  decode(tokens: readonly number[]): string;
}

/** A token of scores: the best, or, of a uniform number in [0, 1), one that is drawn. */
export function choose(
  scores: Float32Array,
  options: { temperature: number; topK?: number; topP?: number; number: number },
): number;

/** The number in [0, 1) of a seed and a timestep: Philox4x32-10. */
export function uniform(seed: number | bigint, step: number | bigint): number;
