import { escapeControls } from "../errors.ts";

/** How the lines begin that QEMU's own texts go on with after a newline. */
const qemuLines = [
  "Could not open backing image.",
  "Detected format of ",
  "Identifiers consist of ",
  "Is another process using the image [",
  "Optional suffix k, M, G, ",
  "Please use ",
  "Some clusters may be leaked, run ",
  "This option is only supported for image creation",
  "Try 'qemu-img --help' for more information",
  "Try --skip-broken-bitmaps, or use ",
  "Try block-dirty-bitmap-remove to delete ",
  "You can force-remove ",
  "You can use 'qemu-img rebase' instead.",
  "and exabytes, respectively.",
  "qemu-img: Check failed: ",
  "qemu-img: Failed in parsing snapshot param ",
  "qemu-img: warning: Shrinking an image will delete ",
];

/** Made when it is first needed: most runs of the program print no such text. */
let newlines: RegExp | undefined;

function makeNewlines(): RegExp {
  const escaped = qemuLines.map((line) => line.replaceAll(/[[\].,]/g, String.raw`\$&`));
  return new RegExp(String.raw`\n(?=${escaped.join("|")})|\n$`, "g");
}

/**
 * {@link escapeControls} for what QEMU says: newlines stay where its own texts have them, and not where
 * a name does.
 */
export const escapeQemu = (text: string): string =>
  text
    .split((newlines ??= makeNewlines()))
    .map(escapeControls)
    .join("\n");
