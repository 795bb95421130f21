import type { Disk } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import type { StorageProvider } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";

/**
 * Writing an image over itself, or over one that it is made of, would destroy it. `target` is the file
 * to be written: `image`, or what it keeps its data in.
 */
export async function refuseSameFile(
  disks: readonly Disk[],
  target: string,
  { provider }: CommandContext,
  image: string = target,
): Promise<void> {
  refuseIdentity(disks, await identityOf(target, provider), target, image);
}

/** As {@link refuseSameFile}, for a target that is open already. */
export function refuseSameStorage(disks: readonly Disk[], target: Disk): void {
  const { storage, dataStorage } = target.image;
  refuseIdentity(disks, storage.identity, target.name);
  refuseIdentity(disks, dataStorage?.identity, dataStorage?.name ?? target.name);
}

function refuseIdentity(
  disks: readonly Disk[],
  identity: string | undefined,
  target: string,
  image: string = target,
): void {
  if (identity === undefined) return;
  for (const disk of disks) {
    for (let layer: Disk | undefined = disk; layer !== undefined; layer = layer.backing) {
      const { storage, dataStorage } = layer.image;
      if (storage.identity !== identity && dataStorage?.identity !== identity) continue;
      throw new PlatterError(
        "E_SAME_FILE",
        `${target}: the target is (or is behind) the source ${disk.name}; choose another name`,
        {
          file: target,
          qemu:
            `${image}: error while converting ${layer.image.format}: Failed to get "write" lock\n` +
            `Is another process using the image [${target}]?`,
        },
      );
    }
  }
}

/** Undefined where there is nothing yet, or nothing that could be opened: creating it will tell. */
async function identityOf(name: string, provider: StorageProvider): Promise<string | undefined> {
  try {
    const storage = await provider.open(name, { writable: false, lock: "none" });
    await storage.close();
    return storage.identity;
  } catch {
    return undefined;
  }
}
