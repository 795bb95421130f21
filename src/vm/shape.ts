/**
 * Values from outside (QMP replies, state files) taken apart with a check at each step, so that what a type says
 * is true.
 */
import { PlatterError } from "../errors.ts";

/** An object whose members have not been looked at. */
export type Members = Readonly<Record<string, unknown>>;

/** Reads the members of one object; each method throws if a member is missing or of another kind. */
export class Shape {
  readonly #members: Members;
  /** What messages call the object. */
  readonly #what: string;

  constructor(value: unknown, what: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw wrong(what, "an object", value);
    }
    this.#members = value as Members;
    this.#what = what;
  }

  /** Whether the member is there, and not null. */
  has(name: string): boolean {
    return this.#members[name] !== undefined && this.#members[name] !== null;
  }

  /** The member as it is. */
  any(name: string): unknown {
    return this.#members[name];
  }

  text(name: string): string {
    return asText(this.#members[name], this.#path(name));
  }

  /** A string, or undefined where there is none. */
  optionalText(name: string): string | undefined {
    return this.has(name) ? this.text(name) : undefined;
  }

  /** A whole number that is exact, and not negative. */
  count(name: string): number {
    const value = this.#members[name];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
      throw wrong(this.#path(name), "a whole number", value);
    }
    return value;
  }

  flag(name: string): boolean {
    const value = this.#members[name];
    if (typeof value !== "boolean") throw wrong(this.#path(name), "true or false", value);
    return value;
  }

  /** One of a few words. */
  word<const Word extends string>(name: string, words: readonly Word[]): Word {
    return asWord(this.#members[name], this.#path(name), words);
  }

  /** A list of such words. */
  words<const Word extends string>(name: string, words: readonly Word[]): Word[] {
    return this.list(name, (value, what) => asWord(value, what, words));
  }

  /** A list of strings. */
  texts(name: string): string[] {
    return this.list(name, asText);
  }

  object(name: string): Shape {
    return new Shape(this.#members[name], this.#path(name));
  }

  /** Each element of a list, taken apart by `read`. */
  list<Element>(name: string, read: (value: unknown, what: string) => Element): Element[] {
    const value = this.#members[name];
    if (!Array.isArray(value)) throw wrong(this.#path(name), "a list", value);
    return value.map((element, index) => read(element, `${this.#path(name)}[${index}]`));
  }

  /** A list of objects. */
  objects<Element>(name: string, read: (shape: Shape) => Element): Element[] {
    return this.list(name, (value, what) => read(new Shape(value, what)));
  }

  #path(name: string): string {
    return `${this.#what}.${name}`;
  }
}

function asText(value: unknown, what: string): string {
  if (typeof value === "string") return value;
  throw wrong(what, "a string", value);
}

function asWord<Word extends string>(value: unknown, what: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === value);
  if (found !== undefined) return found;
  throw wrong(what, `one of ${words.join(", ")}`, value);
}

function wrong(what: string, wanted: string, value: unknown): PlatterError {
  const found = value === undefined ? "nothing" : JSON.stringify(value).slice(0, 60);
  return new PlatterError("E_EXTERNAL", `${what} should be ${wanted}, but is ${found}.`, {
    field: what,
    value: found,
  });
}
