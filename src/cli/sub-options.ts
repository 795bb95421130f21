import { argumentError } from "./usage.ts";

/**
 * The value of an option that is a list: `vnc,port=5901`, `path=a.qcow2,size=20`. What nobody takes out is
 * refused by name at the end. A doubled comma is a comma in a value.
 */
export class SubOptions {
  readonly #option: string;
  readonly #text: string;
  readonly #rest: Map<string, string>;
  /** The word in front without a name. */
  readonly first: string | undefined;

  /** @param option as the user writes it, such as `--disk` */
  constructor(option: string, text: string) {
    this.#option = option;
    this.#text = text;
    const words = text.split(/(?<!,),(?!,)/).map((word) => word.replaceAll(",,", ","));
    const [first = ""] = words;
    const named = /^[a-z][a-z0-9_-]*=/i;
    this.first = named.test(first) || first === "" ? undefined : first;
    this.#rest = new Map();
    for (const word of this.first === undefined ? words : words.slice(1)) {
      const [name = ""] = named.exec(word) ?? [];
      const key = name.slice(0, -1);
      if (key === "") throw this.#wrong(`"${word}" has no name in front, as in name=value`);
      if (this.#rest.has(key)) throw this.#wrong(`${key}= is given twice`);
      this.#rest.set(key, word.slice(name.length));
    }
  }

  /** The value of that name, once. */
  take(name: string): string | undefined {
    const value = this.#rest.get(name);
    this.#rest.delete(name);
    return value;
  }

  /** The value of that name, which has to be one of a few. */
  word<const Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    return oneOf(`${this.#option} ${name}=`, value, words);
  }

  /** The value as one of a few words. */
  oneOf<const Word extends string>(value: string, words: readonly Word[]): Word {
    return oneOf(`${this.#option} ${this.#text}`, value, words);
  }

  /** The value of that name as a whole number. */
  number(name: string): number | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    if (/^\d{1,9}$/.test(value)) return Number(value);
    throw this.#wrong(`${name}= takes a whole number, not "${value}"`);
  }

  /** What nobody has taken yet, in order. */
  rest(): ReadonlyArray<readonly [name: string, value: string]> {
    const pairs = [...this.#rest];
    this.#rest.clear();
    return pairs;
  }

  /** Refuses what nobody has taken. */
  finish(): void {
    const [name] = this.#rest.keys();
    if (name !== undefined) throw this.#wrong(`${name}= is not supported`);
  }

  /** An error about this option. */
  #wrong(why: string): Error {
    const message = `${this.#option} ${this.#text}: ${why}.`;
    return argumentError(this.#option, this.#text, message, message);
  }
}

/** The value as one of a few words; `option` stands before it in the message. */
export function oneOf<const Word extends string>(
  option: string,
  value: string,
  words: readonly Word[],
): Word {
  const found = words.find((word) => word === value);
  if (found !== undefined) return found;
  const message = `${option}: "${value}" is not supported; ${words.join(", ")} are.`;
  throw argumentError(option, value, message, message);
}
