import { type DiskRequest, diskBuses, diskCaches, diskDiscards } from "../../vm/index.ts";
import { type FormatServices, parseSize } from "../contract.ts";
import { writableFormat } from "../format-options.ts";
import { SubOptions } from "../sub-options.ts";
import { argumentError } from "../usage.ts";
import { targetOptions } from "./target-options.ts";

const GIB = 2 ** 30;

/**
 * The value of `--disk`: a disk that is there, or one to be made (`size=`, or the size of its backing file). Names
 * that are not about the guest's device are creation options of the format: `preallocation=`, `cluster_size=` …
 */
export function readDisk(
  text: string,
  formats: FormatServices,
  defaults: Pick<DiskRequest, "bus">,
): DiskRequest {
  const given = new SubOptions("--disk", text);
  const path = given.first ?? given.take("path");
  if (path === undefined) {
    throw argumentError("--disk", text, `--disk ${text}: path= is missing.`, "path missing");
  }
  const size = given.take("size");
  const format = given.take("format");
  const store = given.take("backing_store");
  const storeFormat = given.take("backing_format");
  const device = {
    path,
    bus: given.word("bus", diskBuses) ?? defaults.bus,
    cache: given.word("cache", diskCaches) ?? "writeback",
    discard: given.word("discard", diskDiscards) ?? "ignore",
  };
  if (size === undefined && store === undefined) {
    // There is nothing to make that creation options could be for.
    given.finish();
    return { ...device, format };
  }
  const name = writableFormat(formats, format ?? "qcow2", path);
  const target = targetOptions(formats, name, given.rest(), { name: store, format: storeFormat });
  return {
    ...device,
    make: {
      format: name,
      ...(size === undefined ? {} : { size: readSize(size) }),
      ...(target.backing === undefined ? {} : { backing: target.backing }),
      formatOptions: target.values,
    },
  };
}

/** GiB, as in virt-install, unless a unit says otherwise. */
function readSize(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Math.ceil((Number(text) * GIB) / 512) * 512;
  return parseSize(text, { what: "size=", roundTo: 512 });
}
