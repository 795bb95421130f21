import type { AmendOptions } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import { amendOptions } from "./amend-options.ts";
import { expandZeroClusters } from "./expand-zeros.ts";
import { ExtensionType, type Extension } from "./extensions.ts";
import { autoclear, compatible, incompatible } from "./features.ts";
import { backingFormat, type HeaderFields } from "./header.ts";
import type { Qcow2Image } from "./image.ts";
import { isCompressed } from "./l2-table.ts";
import { WritableMetadata } from "./metadata.ts";
import { changeRefcountWidth } from "./refcount-width.ts";
import { readSnapshotL1 } from "./snapshot-l1.ts";
import type { Qcow2Snapshots } from "./snapshots.ts";

/** What an image shall be, checked. */
interface Wanted {
  readonly version: 2 | 3;
  readonly refcountOrder: number;
  readonly lazyRefcounts: boolean;
  readonly size: number | undefined;
  /** Another name of the data file; the empty name for none. */
  readonly dataFile: string | undefined;
  readonly dataFileRaw: boolean;
}

/**
 * Changes properties of an image as `qemu-img amend` does: first up to version 3, then refcounts, header
 * and size, and last down to version 2. What cannot be is refused before anything is changed.
 */
export async function amend(
  image: Qcow2Image,
  { values, resize, onProgress, force = false }: AmendOptions,
): Promise<void> {
  const { metadata, writer } = image;
  const file = image.storage.name;
  if (writer === undefined || !(metadata instanceof WritableMetadata)) {
    throw new PlatterError("E_READ_ONLY", `${file}: the image is open for reading only`, { file });
  }
  const wanted = await check(metadata, values);
  const { fields } = metadata.header;
  const oldVersion = fields.version;
  await writer.exclusively(async () => {
    if (wanted.version > oldVersion) {
      await upgrade(image, metadata);
      onProgress?.({ done: 1, total: 1 });
    }
    if (Object.keys(values).some((name) => name.startsWith("encrypt."))) {
      await metadata.encryption?.amend?.(values, force);
      onProgress?.({ done: 1, total: 1 });
    }
    await metadata.writeBack.settle();
    await changeRefcountWidth(metadata, wanted.refcountOrder, onProgress);
    await metadata.writeBack.settle();
    await rewriteHeader(metadata, wanted);
  });
  const { size = 0 } = wanted;
  if (size > 0) await resize(size);
  if (wanted.version < oldVersion) {
    // Version 2 cannot say whether they are to be relied on.
    const bitmaps = await image.bitmaps();
    for (const { name } of bitmaps.list()) await bitmaps.remove(name);
    await writer.exclusively(async () => {
      await metadata.writeBack.flush(true);
      await expandZeroClusters(metadata, onProgress);
      await metadata.writeBack.settle();
      metadata.lazyRefcounts = false;
      await metadata.rewriteHeader({
        version: 2,
        compression_type: 0,
        incompatible_features: 0n,
        compatible_features: 0n,
        autoclear_features: 0n,
      });
    });
  }
  await writer.flush();
}

/** Looks at the options in QEMU's order, and at what would only be found on the way there. */
async function check(metadata: WritableMetadata, values: AmendOptions["values"]): Promise<Wanted> {
  const { header, geometry, hasDataFile, snapshots, diskSize } = metadata;
  const { fields } = header;
  const refuse = (field: string, qemu: string, advice = ""): PlatterError => {
    const file = metadata.storage.name;
    const value = String(values[field]);
    const message = `${file}: ${field}=${value}: ${qemu}${advice}`;
    return new PlatterError("E_INVALID_ARGUMENT", message, { file, field, value, qemu });
  };
  for (const name of Object.keys(values)) {
    if (!amendOptions.some((option) => option.name === name)) {
      throw refuse(name, `Invalid parameter '${name}'`);
    }
    if (name.startsWith("encrypt.") && metadata.encryption?.amend === undefined) {
      const qemu =
        metadata.encryption === undefined
          ? "Can't amend encryption options - encryption not present"
          : "Only LUKS encryption options can be amended for qcow2 with encryption";
      throw refuse(name, qemu);
    }
  }
  const version = wantedVersion(values["compat"], fields.version, refuse);
  const bits = Number(values["refcount_bits"] ?? geometry.refcountBits);
  const refcountOrder = Math.log2(bits);
  if (!Number.isInteger(refcountOrder) || bits < 1 || bits > 64) {
    throw refuse(
      "refcount_bits",
      "Refcount width must be a power of two and may not exceed 64 bits",
    );
  }
  const dataFile = values["data_file"] as string | undefined;
  if (dataFile !== undefined && !hasDataFile) {
    throw refuse(
      "data_file",
      "data-file can only be set for images that use an external data file",
    );
  }
  const isRaw = (fields.autoclear_features & autoclear.rawData) !== 0n && hasDataFile;
  const dataFileRaw = (values["data_file_raw"] as boolean | undefined) ?? isRaw;
  if (dataFileRaw && !isRaw) {
    throw refuse("data_file_raw", "data-file-raw cannot be set on existing images");
  }
  if (version < 3 && bits !== 16 && bits !== geometry.refcountBits) {
    throw refuse(
      "refcount_bits",
      "Refcount widths other than 16 bits require compatibility level 1.1 or above " +
        "(use compat=1.1 or greater)",
    );
  }
  refuseBacking(metadata, values, refuse);
  const lazyRefcounts =
    (values["lazy_refcounts"] as boolean | undefined) ??
    (fields.compatible_features & compatible.lazyRefcounts) !== 0n;
  if (lazyRefcounts && values["lazy_refcounts"] === true && version < 3) {
    throw refuse(
      "lazy_refcounts",
      "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)",
    );
  }
  const size = values["size"] as number | undefined;
  if (version < fields.version) {
    if (bits !== 16) throw refuse("compat", "compat=0.10 requires refcount_bits=16");
    if (hasDataFile) throw refuse("compat", "Cannot downgrade an image with a data file");
    const final = size === undefined || size === 0 ? diskSize : size;
    const prevents = snapshots.entries.some(
      ({ vmStateSize, diskSize: own }) => vmStateSize > 0xffff_ffff || own !== final,
    );
    if (prevents) throw refuse("compat", "Internal snapshots prevent downgrade of image");
    const packs = (fields.incompatible_features & incompatible.compression) !== 0n;
    if (packs && (await hasCompressedClusters(metadata))) {
      const text =
        "Cannot downgrade an image with zstd compression type and existing compressed clusters";
      throw refuse("compat", text, "; convert it instead");
    }
    const forgotten = incompatible.dirty | incompatible.compression;
    const left = fields.incompatible_features & ~forgotten;
    if (left !== 0n) {
      const mask = `0x${left.toString(16)}`;
      const text = `Cannot downgrade an image with incompatible features ${mask} set`;
      throw refuse("compat", text, "; convert it instead");
    }
  }
  return { version, refcountOrder, lazyRefcounts, size, dataFile, dataFileRaw };
}

/** Whether the disk or a snapshot has a compressed cluster. */
async function hasCompressedClusters(metadata: WritableMetadata): Promise<boolean> {
  const { l1, l2, snapshots, storage, geometry } = metadata;
  const tables = [l1];
  for (const snapshot of snapshots.entries) {
    tables.push(await readSnapshotL1(storage, geometry, snapshot));
  }
  for (const table of tables) {
    for (let i = 0; i < table.length; i++) {
      const offset = table.l2Offset(i);
      if (offset === 0) continue;
      const entries = await l2.load(offset);
      for (let index = 0; index < geometry.l2Entries; index++) {
        if (isCompressed(entries, index)) return true;
      }
    }
  }
  return false;
}

function wantedVersion(
  compat: string | number | boolean | undefined,
  now: number,
  refuse: (field: string, qemu: string) => Error,
): 2 | 3 {
  if (compat === undefined) return now < 3 ? 2 : 3;
  if (compat === "0.10" || compat === "v2") return 2;
  if (compat === "1.1" || compat === "v3") return 3;
  throw refuse("compat", `Unknown compatibility level ${String(compat)}`);
}

/** The image behind stays: `rebase` is for that. */
function refuseBacking(
  { header }: WritableMetadata,
  values: AmendOptions["values"],
  refuse: (field: string, qemu: string, advice?: string) => Error,
): void {
  const { backing_file: name, backing_fmt: format } = values;
  if (name === undefined && format === undefined) return;
  if (name === header.backingName && format === backingFormat(header)) return;
  const field = name === undefined ? "backing_fmt" : "backing_file";
  throw refuse(field, "Cannot amend the backing file\nYou can use 'qemu-img rebase' instead.");
}

/** Version 3 needs snapshots that know their size. */
async function upgrade(image: Qcow2Image, metadata: WritableMetadata): Promise<void> {
  if (metadata.snapshots.entries.some(({ hasSize }) => !hasSize)) {
    const snapshots = (await image.snapshots()) as Qcow2Snapshots;
    await snapshots.rewrite(metadata);
  }
  await metadata.writeBack.flush(true);
  await metadata.rewriteHeader({ version: 3, refcount_order: 4 });
  await metadata.writeBack.barrier();
}

async function rewriteHeader(metadata: WritableMetadata, wanted: Wanted): Promise<void> {
  const { header } = metadata;
  const { compatible_features, autoclear_features } = header.fields;
  const changes: Partial<HeaderFields> =
    header.fields.version < 3
      ? {}
      : {
          compatible_features: wanted.lazyRefcounts
            ? compatible_features | compatible.lazyRefcounts
            : compatible_features & ~compatible.lazyRefcounts,
          autoclear_features: wanted.dataFileRaw
            ? autoclear_features
            : autoclear_features & ~autoclear.rawData,
        };
  const { dataFile } = wanted;
  if (dataFile !== undefined) {
    const others = header.extensions.filter(({ type }) => type !== ExtensionType.dataFile);
    const named: Extension[] =
      dataFile === ""
        ? []
        : [{ type: ExtensionType.dataFile, data: new TextEncoder().encode(dataFile) }];
    metadata.checkHeader([...others, ...named]);
    header.extensions = [...others, ...named];
  }
  await metadata.rewriteHeader(changes);
}
