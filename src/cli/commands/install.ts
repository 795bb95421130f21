import { PlatterError } from "../../errors.ts";
import {
  type DiskCost,
  formatSize,
  type GuestStore,
  type InstallPlan,
  type Services,
} from "../contract.ts";
import { plainJson } from "../json.ts";
import { jsonOption } from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { argumentError, usageError } from "../usage.ts";
import { followConsole, followGuest } from "./follow-guest.ts";
import { installOptions } from "./install-spec.ts";

type Guests = Awaited<ReturnType<Services["guests"]>>;

/** The table entry of `install`. */
export const installCommand: CommandSpec = {
  name: "install",
  face: "platter",
  summary: "make a disk and install a guest on it, as virt-install does",
  description:
    "Takes virt-install's words, and more about the disk: how it is preallocated, and with which clusters; what that costs is said before it is done. QEMU runs in the background and goes on when the terminal is closed; platter vm looks after it. A disk that exists is not replaced without --force. Whether KVM works is tried out; where it does not, the guest runs in emulation (TCG), and that is said. When the installation is over, the guest is started from its disk, unless --noreboot says otherwise.",
  operands: "",
  options: [...installOptions, jsonOption],
  examples: [
    {
      line: "install --name demo --memory 2048 --disk path=demo.qcow2,size=20,preallocation=metadata --cdrom debian.iso --graphics vnc",
      explanation: "From a CD, with a screen",
    },
    {
      line: "install --name web --import --disk path=web.qcow2,backing_store=debian-12.qcow2,backing_format=qcow2 --cloud-init user=ada,ssh-key=id_ed25519.pub --noautoconsole",
      explanation: "An overlay over a distribution's cloud image, with an account",
    },
    {
      line: "install --name demo --disk demo.qcow2,size=8G --location /mnt/debian --extra-args console=ttyS0 --print-xml",
      explanation: "What libvirt would be told; nothing is made",
    },
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  const [unexpected] = parsed.operands;
  if (unexpected !== undefined) {
    throw usageError(`install takes options only, not "${unexpected}".`, "Unexpected argument");
  }
  const wait = readWait(parsed);
  const uri = parsed.value("connect");
  if (uri !== undefined && wait !== undefined) {
    throw argumentError(
      "--wait",
      undefined,
      "--wait together with --connect is not supported.",
      "",
    );
  }
  const { readInstall } = await import("./install-options.ts");
  const options = readInstall(parsed, await session.services.formats());
  const guests = await session.services.guests();
  const store = new guests.GuestStore(guests.stateDirectory(session.environment.variables));
  const context = await session.context();
  const plan = await guests.planInstall(options, store, context);
  if (parsed.has("printXml")) {
    session.print(plan.installXml);
    return 0;
  }
  const json = parsed.has("json");
  const dry = parsed.has("dryRun");
  const tell = (text: string): void => {
    if (!json) session.print(text);
  };
  for (const cost of plan.costs) tell(costText(cost, session));
  if (plan.acceleration.kind === "tcg") {
    session.warn(`no KVM, so the guest is emulated and slow: ${plan.acceleration.reason}`);
  }
  if (dry) {
    tell("Nothing has been made (--dry-run).\n");
  } else if (uri === undefined) await guests.startInstall(plan, store, context);
  else await guests.installWithLibvirt(plan, uri, context);
  const { name } = plan.machine;
  if (json) session.print(planJson(plan, !dry));
  else if (!dry) session.print(`Started ${session.paint("name", name)}.\n`);
  if (uri !== undefined && plan.install !== undefined) {
    tell(`When it is installed, it is off: virsh -c ${uri} start ${name}.\n`);
  }
  if (dry || uri !== undefined) return 0;
  const code = await follow(parsed, session, { guests, store, name, wait, json });
  if (code !== undefined) return code;
  if (plan.install === undefined || parsed.has("noreboot")) return 0;
  await guests.startGuest(store, name, session.signal);
  tell(`${session.paint("name", name)} is installed, and has been started from its disk.\n`);
  return 0;
}

/** How the user wants to follow what the guest does. */
interface Following {
  readonly guests: Guests;
  readonly store: GuestStore;
  readonly name: string;
  /** Milliseconds; undefined if nothing was said. */
  readonly wait: number | undefined;
  readonly json: boolean;
}

/** Follows until the guest is off; an exit code if that is the end of the command. */
async function follow(
  parsed: Parsed,
  session: Session,
  { guests, store, name, wait, json }: Following,
): Promise<number | undefined> {
  if (wait === 0 || (parsed.has("noautoconsole") && wait === undefined)) {
    if (!json) session.print(`It runs in the background: platter vm list shows it.\n`);
    return 0;
  }
  const { machine } = await store.read(name);
  const hasConsole = machine.graphics.kind === "none" && machine.serial.kind === "console";
  const wanted = !json && !parsed.has("noautoconsole");
  if (hasConsole && wanted && session.environment.terminal().isTerminal) {
    const end = await followConsole(session, guests, store, name);
    if (end === "detached") return 0;
  }
  const state = await followGuest(session, guests, store, name, { milliseconds: wait, json });
  if (state === "shut off") return undefined;
  throw new PlatterError("E_EXTERNAL", `"${name}": QEMU was killed before the guest was off.`, {
    value: name,
  });
}

/** Minutes, as in virt-install: none means no waiting, a negative number for ever. */
function readWait(parsed: Parsed): number | undefined {
  const text = parsed.value("wait");
  if (text === undefined) return undefined;
  if (/^-\d+$/.test(text)) return Infinity;
  if (/^\d{1,6}$/.test(text)) return Number(text) * 60_000;
  const message = `--wait takes minutes, or -1 to wait for ever, not "${text}".`;
  throw argumentError("--wait", text, message, message);
}

/** What a disk costs, as a line. */
function costText(cost: DiskCost, { paint, safe }: Session): string {
  const { path, format, preallocation, size, now, most, free, writesAll } = cost;
  const at = now === 0 ? "next to nothing" : formatSize(now);
  const grows =
    now >= most ? "and does not grow" : `and grows up to ${formatSize(most)} as the guest writes`;
  const time = writesAll ? " Every byte is written, which takes its time." : "";
  const short =
    most > free ? paint("bad", ` Only ${formatSize(free)} are free there: it may fill up.`) : "";
  return (
    `${paint("name", safe(path))}: ${format}, ${formatSize(size)}, preallocation=${preallocation}: ` +
    `takes ${at} at once, ${grows}.${time}${short}\n`
  );
}

function planJson({ machine, costs, acceleration }: InstallPlan, started: boolean): string {
  return `${plainJson({
    name: machine.name,
    uuid: machine.uuid,
    started,
    acceleration: acceleration.kind,
    ...(acceleration.kind === "tcg" && { "acceleration-reason": acceleration.reason }),
    memory: machine.memory,
    vcpus: machine.vcpus,
    disks: machine.disks.map(({ path, format, bus, cache, discard }) => ({
      path,
      format,
      bus,
      cache,
      discard,
    })),
    "new-disks": costs.map(({ path, format, preallocation, size, now, most }) => ({
      path,
      format,
      preallocation,
      "virtual-size": size,
      "taken-at-once": now,
      "taken-at-most": most,
    })),
  })}\n`;
}
