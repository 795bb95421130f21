import { PlatterError } from "../errors.ts";
import {
  FilterStorage,
  MemoryStorage,
  type CreateStorageOptions,
  type NewStorage,
  type Storage,
  type StorageCall,
  type StorageProvider,
  type WritableStorage,
} from "../storage/index.ts";

/** Passes everything on but closing, which it reports. */
class Opened extends FilterStorage {
  declare readonly write: WritableStorage["write"];
  declare readonly flush: WritableStorage["flush"];
  private readonly onClose: () => void;

  constructor(inner: WritableStorage, onClose: () => void) {
    super(inner);
    this.onClose = onClose;
  }

  override close(): Promise<void> {
    this.onClose();
    return Promise.resolve();
  }

  protected override around<T>(_call: StorageCall, run: () => Promise<T>): Promise<T> {
    return run();
  }

  protected override aroundSync<T>(_call: StorageCall, run: () => T): T {
    return run();
  }
}

/** A directory in memory. */
export class MemoryProvider implements StorageProvider {
  /** Storages that have been opened and not closed. */
  openCount = 0;
  private readonly files = new Map<string, MemoryStorage>();

  put(name: string, bytes: Uint8Array): void {
    this.files.set(name, MemoryStorage.from(bytes, name));
  }

  get(name: string): Uint8Array | undefined {
    return this.files.get(name)?.toBytes();
  }

  names(): string[] {
    return [...this.files.keys()].toSorted();
  }

  async open(name: string): Promise<Storage> {
    const file = this.files.get(name);
    if (file !== undefined) return this.opened(file);
    throw new PlatterError("E_NOT_FOUND", `${name}: no such file`, { file: name });
  }

  async create(name: string, _options?: CreateStorageOptions): Promise<NewStorage> {
    const before = this.files.get(name);
    const file = new MemoryStorage({ name });
    this.files.set(name, file);
    return {
      storage: this.opened(file),
      publish: () => Promise.resolve(),
      discard: async () => {
        if (before === undefined) this.files.delete(name);
        else this.files.set(name, before);
      },
    };
  }

  async exists(name: string): Promise<boolean> {
    return this.files.has(name);
  }

  resolve(reference: string): string {
    return reference;
  }

  private opened(file: MemoryStorage): Opened {
    this.openCount++;
    let open = true;
    return new Opened(file, () => {
      if (open) this.openCount--;
      open = false;
    });
  }
}
