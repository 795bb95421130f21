import { readCacheMode } from "../cache-mode.ts";
import { formatSize, parseSize } from "../contract.ts";
import { plainJson } from "../json.ts";
import {
  checkImageOpts,
  formatOption,
  imageOptsOption,
  jsonOption,
  objectOption,
  progressOptions,
  quietOption,
  rateLimitOption,
  targetCacheOption,
} from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { formatArgument, singleOperand } from "./operands.ts";

/** The table entry of `commit`. */
export const commitCommand: CommandSpec = {
  name: "commit",
  summary: "write what an overlay holds into the image behind it",
  description:
    "Copies everything that the image has of its own into its backing file, which grows if it is smaller, and empties the image. With -b the data goes to an image further down the chain; then, and with -d, the image stays as it is. Nothing is let go of before it is on stable storage below.",
  operands: "filename",
  options: [
    objectOption,
    imageOptsOption,
    formatOption,
    targetCacheOption,
    {
      id: "base",
      short: "b",
      friendly: "base",
      argument: "base",
      completes: "file",
      summary: "the image of the chain that gets the data; implies -d",
      group: "Images",
    },
    rateLimitOption,
    {
      id: "keep",
      short: "d",
      friendly: "keep",
      summary: "do not empty the image afterwards",
      group: "Behaviour",
    },
    ...progressOptions,
    quietOption,
    jsonOption,
  ],
  examples: [
    { line: "commit overlay.qcow2", explanation: "Keep what was tried out in the overlay" },
    {
      line: "commit -b base.qcow2 top.qcow2",
      explanation: "Over all images between, which are of no use afterwards",
    },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const name = singleOperand(parsed);
  const cache = readCacheMode(parsed.value("cache") ?? "writeback");
  checkImageOpts(parsed);
  const rate = parsed.value("rateLimit");
  const bytesPerSecond = rate === undefined ? 0 : parseSize(rate);
  const commit = await session.services.command("commit");
  const look = { step: 1, eager: true };
  const result = await session.withProgress(parsed, look, async (display) => {
    const done = await commit(
      {
        name,
        ...formatArgument(parsed),
        imageOpts: parsed.has("imageOpts"),
        base: parsed.value("base"),
        keep: parsed.has("keep"),
        sync: !cache.unsafe,
        writethrough: cache.writethrough,
        direct: cache.direct,
        ...(bytesPerSecond > 0 && { bytesPerSecond }),
      },
      await session.context((progress) => display.update(progress)),
    );
    display.finish();
    return done;
  });
  if (parsed.has("quiet")) return 0;
  if (parsed.has("json")) {
    const { filename, base, size, emptied } = result;
    session.print(`${plainJson({ filename, base, "virtual-size": size, emptied })}\n`);
  } else if (session.face === "qemu") session.print("Image committed.\n");
  else {
    const [from, to] = [session.safe(result.filename), session.safe(result.base)];
    const state = result.emptied ? `${from} is empty` : `${from} is as it was`;
    session.print(`${to} holds it all now, ${formatSize(result.size)}; ${state}\n`);
  }
  return 0;
}
