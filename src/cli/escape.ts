/** Whether a terminal takes the character for a command, or lets it turn text around. */
function isControl(code: number): boolean {
  return (
    code < 0x20 ||
    (code >= 0x7f && code < 0xa0) ||
    code === 0x200e ||
    code === 0x200f ||
    (code >= 0x2028 && code <= 0x202e) ||
    (code >= 0x2066 && code <= 0x2069)
  );
}

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * `text` with control characters written as `\n`, `\x1b` or `\u202e`: names that come from an
 * image must not be able to rewrite what a terminal shows. Characters in `keep` stay.
 */
export function escapeControls(text: string, keep = ""): string {
  let result = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (!isControl(code) || keep.includes(character)) result += character;
    else if (code < 0x100) {
      result += SHORT[character] ?? `\\x${code.toString(16).padStart(2, "0")}`;
    } else result += `\\u${code.toString(16).padStart(4, "0")}`;
  }
  return result;
}
