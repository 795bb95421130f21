import { PlatterError } from "../errors.ts";

/** A value read from QEMU's JSON. */
export type QemuJson =
  | string
  | number
  | boolean
  | null
  | readonly QemuJson[]
  | ReadonlyMap<string, QemuJson>;

/** Deepest nesting that QEMU reads. */
const maxDepth = 1024;

type Token =
  | { readonly kind: "punctuation"; readonly text: string }
  | { readonly kind: "value"; readonly value: string | number | boolean | null }
  | { readonly kind: "end" };

/**
 * Reads JSON as QEMU does on the command line: strings may stand in single quotes too, and objects
 * come as maps, so that no name has a meaning of its own.
 *
 * @throws `E_INVALID_ARGUMENT` with QEMU's words
 */
export function parseQemuJson(text: string): QemuJson {
  const tokens = new Tokens(text);
  if (tokens.peek().kind === "end") throw invalid(text, "Expecting a JSON value");
  const value = readValue(tokens, 0);
  if (!tokens.isAtEnd) throw invalid(text, "Expecting at most one JSON value");
  return value;
}

function invalid(text: string, qemu: string): PlatterError {
  return new PlatterError("E_INVALID_ARGUMENT", `This is not JSON (${qemu}): ${text}`, {
    value: text,
    qemu,
  });
}

function readValue(tokens: Tokens, depth: number): QemuJson {
  const token = tokens.next();
  if (token.kind === "value") return token.value;
  if (depth > maxDepth) throw tokens.error("JSON nesting depth limit exceeded", false);
  if (token.kind === "punctuation" && token.text === "{") return readObject(tokens, depth + 1);
  if (token.kind === "punctuation" && token.text === "[") return readList(tokens, depth + 1);
  throw tokens.error("expecting value");
}

function readObject(tokens: Tokens, depth: number): ReadonlyMap<string, QemuJson> {
  const members = new Map<string, QemuJson>();
  if (tokens.takes("}")) return members;
  do {
    const key = tokens.next();
    if (key.kind === "punctuation") throw tokens.error("expecting value");
    if (key.kind !== "value" || typeof key.value !== "string") {
      throw tokens.error("key is not a string in object");
    }
    if (!tokens.takes(":")) throw tokens.error("missing : in object pair");
    if (members.has(key.value)) throw tokens.error("duplicate key");
    members.set(key.value, readValue(tokens, depth));
  } while (tokens.takes(","));
  if (!tokens.takes("}")) throw tokens.error("expected separator in dict");
  return members;
}

function readList(tokens: Tokens, depth: number): readonly QemuJson[] {
  const items: QemuJson[] = [];
  if (tokens.takes("]")) return items;
  do items.push(readValue(tokens, depth));
  while (tokens.takes(","));
  if (!tokens.takes("]")) throw tokens.error("expected separator in list");
  return items;
}

/** Cuts text into tokens. */
class Tokens {
  private readonly text: string;
  private position = 0;
  private ahead: Token | undefined;

  constructor(text: string) {
    this.text = text;
  }

  /** Whether nothing but blanks is left. */
  get isAtEnd(): boolean {
    return this.text.slice(this.position).trim() === "";
  }

  peek(): Token {
    return (this.ahead ??= this.read());
  }

  /** The next token; the end of the text is an error. */
  next(): Token {
    const token = this.peek();
    if (token.kind === "end") throw this.error("premature EOI");
    this.ahead = undefined;
    return token;
  }

  /** Whether the next token is that mark, which is passed over then. */
  takes(mark: string): boolean {
    const token = this.peek();
    if (token.kind === "end") throw this.error("premature EOI");
    if (token.kind !== "punctuation" || token.text !== mark) return false;
    this.ahead = undefined;
    return true;
  }

  error(what: string, prefixed = true): PlatterError {
    return invalid(this.text, prefixed ? `JSON parse error, ${what}` : what);
  }

  private read(): Token {
    const rest = this.text.slice(this.position);
    const blank = /^[ \t\r\n]*/.exec(rest)?.[0].length ?? 0;
    const start = this.position + blank;
    const after = this.text.slice(start);
    if (after === "") return { kind: "end" };
    const found =
      /^(?:[{}[\],:]|[a-zA-Z]+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s{}[\],:]+)/s.exec(after);
    const word = found?.[0] ?? after;
    this.position = start + word.length;
    if (/^[{}[\],:]$/.test(word)) return { kind: "punctuation", text: word };
    return { kind: "value", value: this.readScalar(word, after) };
  }

  private readScalar(word: string, after: string): string | number | boolean | null {
    const [first = ""] = word;
    if (/^[a-zA-Z]/.test(word)) {
      if (word === "true") return true;
      if (word === "false") return false;
      if (word === "null") return null;
      throw this.error(`invalid keyword '${word}'`);
    }
    if (first === '"' || first === "'") {
      if (word.length > 1 && word.endsWith(first)) return this.unescape(word.slice(1, -1));
      throw this.error(`stray '${after}'`);
    }
    if (/^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$/.test(word)) return Number(word);
    throw this.error(`stray '${/^[-0-9]/.test(word) ? this.stray(after) : first}'`);
  }

  /** A wrong number is named up to the next blank or bracket, with it unless that closes the text. */
  private stray(after: string): string {
    const digits = /^[-0-9.eE+]*/.exec(after)?.[0] ?? "";
    return digits === "-" ? after.slice(0, 2) : digits;
  }

  private unescape(text: string): string {
    const short: Readonly<Record<string, string>> = {
      '"': '"',
      "'": "'",
      "\\": "\\",
      "/": "/",
      b: "\b",
      f: "\f",
      n: "\n",
      r: "\r",
      t: "\t",
    };
    return text.replaceAll(/\\(u[0-9a-fA-F]{4}|.)/gs, (_whole, escape: string) => {
      if (escape.length === 5) return String.fromCharCode(Number.parseInt(escape.slice(1), 16));
      const plain = short[escape];
      if (plain === undefined) throw this.error("invalid escape sequence in string");
      return plain;
    });
  }
}
