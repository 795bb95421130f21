/**
 * Command line options as glibc's getopt_long reads them, because that is what qemu-img's users
 * and scripts rely on: clusters (`-pq`), attached and separate arguments (`-fraw`, `-f raw`,
 * `-pO qcow2`), long options by any unambiguous beginning (`--out=json`), options after operands,
 * and `--`.
 */

/** An option as getopt needs to know it. */
export interface GetoptOption {
  /** What the option is called in the answers. */
  readonly id: string;
  /** One ASCII letter or digit. */
  readonly short?: string | undefined;
  /** Names without the dashes. */
  readonly long?: readonly string[];
  /** Whether an argument must follow. */
  readonly takesArgument: boolean;
}

/** One step through the arguments. */
export type GetoptEvent =
  | { readonly kind: "option"; readonly id: string; readonly value: string | undefined }
  /**
   * An unknown or ambiguous option, or an argument for one that takes none. `word` is the word
   * that qemu-img names in its message, which inside a cluster is not always the one at fault;
   * `option` is the option itself.
   */
  | { readonly kind: "unrecognized"; readonly word: string; readonly option: string }
  /** An option at the end that lacks its argument. */
  | { readonly kind: "missing"; readonly word: string; readonly option: string };

/** Steps through the words of a command line. */
export class Getopt {
  readonly #words: string[];
  readonly #options: readonly GetoptOption[];
  readonly #inOrder: boolean;
  /** Index of the next word to look at. */
  #index = 1;
  /** What is left of the cluster of short options being read. */
  #cluster = "";
  /** The operands that were passed over and not moved behind the options yet: [first, last). */
  #firstOperand = 1;
  #lastOperand = 1;

  /**
   * @param words the words; the first is the program's or command's name
   * @param inOrder stop at the first operand instead of looking for options behind it
   */
  constructor(words: readonly string[], options: readonly GetoptOption[], inOrder = false) {
    this.#words = [...words];
    this.#options = options;
    this.#inOrder = inOrder;
  }

  /** The words that are not options; complete once {@link next} has returned undefined. */
  get operands(): readonly string[] {
    return this.#words.slice(this.#index);
  }

  /** The next option, or undefined when there are no more. */
  next(): GetoptEvent | undefined {
    if (this.#cluster === "") {
      if (!this.#advance()) return undefined;
      const word = this.#words[this.#index] ?? "";
      if (word.startsWith("--")) return this.#long(word.slice(2));
      this.#cluster = word.slice(1);
    }
    return this.#short();
  }

  /** Goes to the next word that is an option. */
  #advance(): boolean {
    if (!this.#inOrder) {
      this.#moveOperands();
      while (this.#index < this.#words.length && isOperand(this.#words[this.#index])) this.#index++;
      this.#lastOperand = this.#index;
    }
    if (this.#words[this.#index] === "--") {
      this.#index++;
      this.#moveOperands();
      this.#lastOperand = this.#words.length;
      this.#index = this.#words.length;
    }
    if (this.#index >= this.#words.length) {
      if (this.#firstOperand !== this.#lastOperand) this.#index = this.#firstOperand;
      return false;
    }
    return !isOperand(this.#words[this.#index]);
  }

  /** Moves the operands that were passed over behind the options that were read since. */
  #moveOperands(): void {
    if (this.#firstOperand === this.#lastOperand) {
      this.#firstOperand = this.#index;
    } else if (this.#lastOperand !== this.#index) {
      const operands = this.#words.slice(this.#firstOperand, this.#lastOperand);
      const options = this.#words.slice(this.#lastOperand, this.#index);
      this.#words.splice(
        this.#firstOperand,
        operands.length + options.length,
        ...options,
        ...operands,
      );
      this.#firstOperand += options.length;
    }
    this.#lastOperand = this.#index;
  }

  #short(): GetoptEvent {
    const letter = String.fromCodePoint(this.#cluster.codePointAt(0) ?? 0);
    this.#cluster = this.#cluster.slice(letter.length);
    const option = `-${letter}`;
    // glibc reads bytes: after the first byte of a character of several, the word goes on.
    if (letter > "\u{7f}") {
      const word = this.#previousWord();
      this.#cluster = "";
      this.#index++;
      return { kind: "unrecognized", word, option };
    }
    if (this.#cluster === "") this.#index++;
    const found = this.#options.find((candidate) => candidate.short === letter);
    if (found === undefined) return { kind: "unrecognized", word: this.#previousWord(), option };
    if (!found.takesArgument) return { kind: "option", id: found.id, value: undefined };
    if (this.#cluster !== "") {
      const value = this.#cluster;
      this.#cluster = "";
      this.#index++;
      return { kind: "option", id: found.id, value };
    }
    return this.#argument(found, option);
  }

  #long(text: string): GetoptEvent {
    this.#index++;
    const equals = text.indexOf("=");
    const name = equals < 0 ? text : text.slice(0, equals);
    const option = `--${name}`;
    const found = this.#findLong(name);
    if (found === undefined || (equals >= 0 && !found.takesArgument)) {
      return { kind: "unrecognized", word: this.#previousWord(), option };
    }
    if (equals >= 0) return { kind: "option", id: found.id, value: text.slice(equals + 1) };
    if (!found.takesArgument) return { kind: "option", id: found.id, value: undefined };
    return this.#argument(found, option);
  }

  /** The option of that name, or the only one whose name begins so. */
  #findLong(name: string): GetoptOption | undefined {
    const exact = this.#options.find((option) => option.long?.includes(name));
    if (exact !== undefined) return exact;
    const candidates = this.#options.filter((option) =>
      option.long?.some((long) => long.startsWith(name)),
    );
    return candidates.length === 1 ? candidates[0] : undefined;
  }

  #argument(found: GetoptOption, option: string): GetoptEvent {
    const value = this.#words[this.#index];
    if (value === undefined) return { kind: "missing", word: this.#previousWord(), option };
    this.#index++;
    return { kind: "option", id: found.id, value };
  }

  #previousWord(): string {
    return this.#words[this.#index - 1] ?? "";
  }
}

/** A lone dash is an operand too. */
function isOperand(word: string | undefined): boolean {
  return word === undefined || !word.startsWith("-") || word.length === 1;
}
