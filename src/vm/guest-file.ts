/** A guest's description as a file. Others may have had it in their hands: it is taken apart with care. */
import { PlatterError } from "../errors.ts";
import {
  bootDevices,
  checkMachine,
  chipsets,
  diskBuses,
  diskCaches,
  diskDiscards,
  firmwares,
  graphicsKinds,
  type GuestDisk,
  type GuestNetwork,
  type Machine,
  networkModels,
  type Serial,
} from "./machine.ts";
import { Shape } from "./shape.ts";

/** A guest as it is remembered. */
export interface Guest {
  readonly machine: Machine;
  /** Paths of those disks that were made for it, and go with it. */
  readonly madeDisks: readonly string[];
}

const VERSION = 1;

/** The file's text. */
export function writeGuest(guest: Guest): string {
  return `${JSON.stringify({ platterGuest: VERSION, ...guest }, undefined, 2)}\n`;
}

/**
 * The guest that a file describes.
 *
 * @throws `E_CORRUPT` naming what is wrong in it
 */
export function readGuest(text: string, file: string, name: string): Guest {
  try {
    const shape = new Shape(JSON.parse(text), file);
    if (shape.count("platterGuest") !== VERSION) {
      throw new SyntaxError("it is from another version of Platter");
    }
    const machine = readMachine(shape.object("machine"));
    if (machine.name !== name) throw new SyntaxError(`it describes "${machine.name}"`);
    checkMachine(machine);
    return { machine, madeDisks: shape.texts("madeDisks") };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new PlatterError("E_CORRUPT", `${file} does not describe a guest: ${why}`, {
      file,
      cause: error,
    });
  }
}

function readMachine(shape: Shape): Machine {
  const graphics = shape.object("graphics");
  return {
    name: shape.text("name"),
    uuid: shape.text("uuid"),
    memory: shape.count("memory"),
    vcpus: shape.count("vcpus"),
    cpu: shape.optionalText("cpu"),
    chipset: shape.word("chipset", chipsets),
    firmware: shape.word("firmware", firmwares),
    disks: shape.objects("disks", readDisk),
    cdroms: shape.texts("cdroms"),
    boot: shape.words("boot", bootDevices),
    networks: shape.objects("networks", readNetwork),
    graphics: {
      kind: graphics.word("kind", graphicsKinds),
      listen: graphics.optionalText("listen"),
      port: graphics.has("port") ? graphics.count("port") : undefined,
    },
    serial: readSerial(shape.object("serial")),
  };
}

function readDisk(shape: Shape): GuestDisk {
  return {
    path: shape.text("path"),
    place: shape.word("place", ["file", "device"]),
    format: shape.text("format"),
    bus: shape.word("bus", diskBuses),
    cache: shape.word("cache", diskCaches),
    discard: shape.word("discard", diskDiscards),
  };
}

function readNetwork(shape: Shape): GuestNetwork {
  return {
    kind: shape.word("kind", ["user", "bridge"]),
    bridge: shape.optionalText("bridge"),
    model: shape.word("model", networkModels),
    mac: shape.optionalText("mac"),
  };
}

function readSerial(shape: Shape): Serial {
  const kind = shape.word("kind", ["console", "none", "file"]);
  return kind === "file" ? { kind, path: shape.text("path") } : { kind };
}
