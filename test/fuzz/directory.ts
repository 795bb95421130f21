/** A directory in memory whose files cannot become large, and that knows what has been opened. */
import { MemoryProvider } from "../../src/commands/provider.test-kit.ts";
import { PlatterError, type NewStorage, type Storage } from "../../src/index.ts";
import type { Base } from "./corpus.ts";
import { imageName } from "./corpus.ts";

/** Bytes that may be written to one storage; then it is full. */
const capacity = 64 * 1024 * 1024;

/** The files of a case. */
export class Directory extends MemoryProvider {
  /** Names that somebody asked for. */
  readonly asked = new Set<string>();

  constructor(image: Uint8Array, { others }: Pick<Base, "others">) {
    super();
    this.put(imageName, image);
    for (const [name, bytes] of others) this.put(name, bytes);
  }

  override async open(name: string): Promise<Storage> {
    this.asked.add(name);
    return limited(await super.open(name));
  }

  override async create(name: string): Promise<NewStorage> {
    const made = await super.create(name);
    limited(made.storage);
    return made;
  }
}

/** The same storage, which is full at some time. */
function limited<T extends Storage>(storage: T): T {
  let left = capacity;
  const { write, writeSync } = storage;
  const take = (length: number): void => {
    left -= length;
    if (left >= 0) return;
    throw new PlatterError("E_NO_SPACE", `${storage.name}: no space left for fuzzing`);
  };
  const members: Partial<Storage> = {};
  if (write !== undefined) {
    members.write = async (offset, from) => {
      take(from.length);
      await write.call(storage, offset, from);
    };
  }
  if (writeSync !== undefined) {
    members.writeSync = (offset, from) => {
      take(from.length);
      writeSync.call(storage, offset, from);
    };
  }
  return Object.assign(storage, members);
}
