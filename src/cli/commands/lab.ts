import { relative } from "node:path";
import { formatSize, parseSize, type LabEvent, type LabOptions } from "../contract.ts";
import { alignColumns, wrap } from "../layout.ts";
import { progressModeOption, sizeCheck } from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError, usageError } from "../usage.ts";
import { usageText } from "../usage-text.ts";

const defaultDirectory = "platter-lab";
const defaultSize = "256M";
const defaultRounds = "9";

/** The table entry of `lab`. */
export const labCommand: CommandSpec = {
  name: "lab",
  face: "platter",
  summary: "tell and measure the preallocation story on this machine",
  description:
    "Makes raw and qcow2 images with every preallocation mode, times that, shows what they take, puts an ext4 filesystem with real files on each, converts the raw one to qcow2, shows them again, measures first writes and rewrites on fresh ones in rounds of alternating order, and says what the numbers show. Leaves report.html, to look at and send on, and report.json. The images are removed at the end, also when it is interrupted. With --guest, a small Linux is started with a new disk of each kind, in each round, and fio measures them from inside: first writes, rewrites and reads, with a flush after each request and without, with cache=none and cache=writeback. Meanwhile the host is watched. The report then says which kind to choose, or that there is no difference that can be measured.",
  operands: "[directory]",
  completes: "directory",
  options: [
    {
      id: "size",
      friendly: "size",
      argument: "size",
      summary: `size of the disks, ${defaultSize} if not given; about three times as much space is needed. With --guest 512M (64M with --quick), and twelve times as much (six)`,
      group: "Behaviour",
      check: sizeCheck("disk size"),
    },
    {
      id: "rounds",
      friendly: "rounds",
      argument: "n",
      summary: `how often writing is measured on each image, ${defaultRounds} if not given`,
      group: "Behaviour",
    },
    {
      id: "tree",
      friendly: "tree",
      argument: "directory",
      completes: "directory",
      summary:
        "where the real files come from; /usr/share or another one that is there if not given",
      group: "Behaviour",
    },
    {
      id: "guest",
      friendly: "guest",
      summary:
        "measure in a guest that runs under QEMU: eleven kinds of disks, in a small Linux made of Debian's packages",
      group: "Behaviour",
    },
    {
      id: "quick",
      friendly: "quick",
      summary: "with --guest: five kinds of disks and five workloads, done in two minutes",
      group: "Behaviour",
    },
    {
      id: "kernel",
      friendly: "kernel",
      argument: "file",
      completes: "file",
      summary:
        "with --guest: a kernel in place of Debian's, with drivers for virtio disks in it or in the initrd",
      group: "Behaviour",
    },
    {
      id: "initrd",
      friendly: "initrd",
      argument: "file",
      completes: "file",
      summary:
        "goes with --kernel: a RAM filesystem with /bin/sh, cat, dd, sed, mount, poweroff and fio in it",
      group: "Behaviour",
    },
    {
      id: "keep",
      friendly: "keep",
      summary: "leave the images there",
      group: "Result",
    },
    {
      id: "json",
      friendly: "json",
      summary: "print the report as JSON instead of the story",
      group: "Output",
    },
    ...progressModeOption(),
  ],
  examples: [
    { line: "lab", explanation: `The story, with its report in ./${defaultDirectory}` },
    {
      line: "lab --size 1G --rounds 15 /var/lib/libvirt/images",
      explanation: "On the filesystem that the real images are on",
    },
    {
      line: "lab --guest --quick",
      explanation: "The same question, answered inside a guest, in two minutes",
    },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const [directory = defaultDirectory, ...others] = parsed.operands;
  if (others.length > 0) {
    throw usageError("One directory is expected.", "Expecting one directory name");
  }
  const rounds = parsed.value("rounds");
  if (parsed.has("guest")) {
    refuseTogether(parsed, ["tree", "keep"], "--guest has no use for");
    const { runGuestLab } = await import("./lab-guest.ts");
    return runGuestLab(
      parsed,
      session,
      directory,
      rounds === undefined ? undefined : wholeNumber(rounds),
    );
  }
  refuseTogether(parsed, ["quick", "kernel", "initrd"], "only with --guest is there a");
  const options: LabOptions = {
    directory,
    size: parseSize(parsed.value("size") ?? defaultSize, { what: "disk size" }),
    rounds: wholeNumber(rounds ?? defaultRounds),
    tree: parsed.value("tree"),
    keep: parsed.has("keep"),
  };
  const json = parsed.has("json");
  const { lab, milliseconds } = await session.services.laboratory();
  // Chapters are printed when the bar has made room for them.
  const story: string[] = [];
  const result = await session.withProgress(parsed, { step: 1, eager: false }, async (display) => {
    const context = await session.context((progress) => display.update(progress));
    const told: Promise<string>[] = [];
    const done = await lab(options, context, (event) => {
      told.push(chapter(event, options, session, milliseconds));
    });
    display.finish();
    story.push(...(await Promise.all(told)));
    return done;
  });
  if (json) {
    session.print(`${JSON.stringify(result.report, null, 2)}\n`);
    return 0;
  }
  const { paint, safe, environment } = session;
  const width = Math.min(environment.stdout.columns, 100);
  const conclusions = result.report.conclusions.map((line) => `- ${wrap(line, width, 2).trim()}\n`);
  const shown = (path: string): string => paint("name", safe(relative("", path)));
  session.print(story.join(""));
  session.print(`${paint("heading", "What the numbers say")}\n${conclusions.join("")}\n`);
  session.print(`Report: ${shown(result.html)}\nNumbers: ${shown(result.json)}\n`);
  if (result.images !== undefined) session.print(`Images: ${shown(result.images)}\n`);
  return 0;
}

/** An option that would have no effect is refused. */
function refuseTogether(parsed: Parsed, ids: readonly string[], why: string): void {
  const given = ids.find((id) => parsed.has(id));
  if (given === undefined) return;
  const message = `platter lab: ${why} --${given}.`;
  throw usageError(message, message);
}

function wholeNumber(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text);
  const message = `--rounds takes a whole number, not "${text}".`;
  throw argumentError("rounds", text, message, message);
}

async function chapter(
  event: LabEvent,
  { size }: LabOptions,
  session: Session,
  time: (milliseconds: number) => string,
): Promise<string> {
  const { paint } = session;
  const heading = (text: string): string => `${paint("heading", text)}\n`;
  switch (event.kind) {
    case "created": {
      const rows = event.creation.map(({ label, summary }) => [
        label,
        time(summary.median),
        paint("faint", `${time(summary.minimum)} to ${time(summary.maximum)}`),
      ]);
      return (
        heading(`Seven images of ${formatSize(size)}: time to make each, on the disk`) +
        `${alignColumns(rows, { indent: 2, right: [false, true] })}\n` +
        heading("What they look like, empty") +
        `${await usageText(event.usage, session)}\n`
      );
    }
    case "filled": {
      const { tree, contents, times } = event.filled;
      const rows = times.map(({ label, milliseconds }) => [label, time(milliseconds)]);
      const files = `${tree.files.toLocaleString("en")} files, ${formatSize(tree.bytes)} from ${session.safe(tree.source)}`;
      const why = contents === "tar archive" ? " (mke2fs is not installed)" : "";
      return (
        heading(`${files}, put on each as an ${contents}${why}`) +
        `${alignColumns(rows, { indent: 2, right: [false, true] })}\n`
      );
    }
    default:
      return (
        heading("What they look like now, and the raw one converted to qcow2") +
        `${await usageText(event.usage, session, { withNotes: false })}\n`
      );
  }
}
