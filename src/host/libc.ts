import { errno } from "./errno.ts";
import { requireKoffi, type ForeignInterface } from "./foreign.ts";

/**
 * The few calls of the C library that Node does not offer. Every call returns what the kernel does:
 * a result of zero or more, or the negated error number. File offsets are bytes up to 2^53 − 1.
 *
 * Kept this small so that another foreign function interface (`bun:ffi`) can fill it too.
 */
export interface Libc {
  /** fallocate(2); `mode` is a sum of {@link Falloc} bits, 0 reserves. */
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /**
   * posix_fallocate(3) on a thread of its own, as it may have to write to every block where the
   * filesystem cannot reserve.
   */
  posixFallocate(fd: number, offset: number, length: number): Promise<number>;
  /** lseek(2) with {@link Seek}. */
  lseek(fd: number, offset: number, whence: number): number;
  /** fcntl(2) with a structure as its argument, which is changed in place. */
  fcntl(fd: number, command: number, argument: Uint8Array): number;
  /** ioctl(2) with a structure as its argument, which is changed in place. */
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  /** posix_fadvise(2) with {@link Advice}. */
  posixFadvise(fd: number, offset: number, length: number, advice: number): number;
  /** preadv2(2) of one buffer with RWF_NOWAIT: -EAGAIN unless everything is in memory. */
  readCached(fd: number, into: Uint8Array, offset: number): number;
}

/** Mode bits of fallocate(2). */
export const Falloc = { keepSize: 0x01, punchHole: 0x02, zeroRange: 0x10 } as const;

/** `whence` values of lseek(2) beyond the classic three. */
export const Seek = { data: 3, hole: 4 } as const;

/** Advice values of posix_fadvise(2). */
export const Advice = { normal: 0, random: 1, sequential: 2, willNeed: 3, dontNeed: 4 } as const;

/** The flag of preadv2(2) that has it not wait for the disk. */
const RwfNowait = 0x08;

/** What came of looking for the C library: the port, or why there is none. */
export type LibcSearch =
  | { readonly libc: Libc; readonly reason?: undefined }
  | { readonly libc?: undefined; readonly reason: string };

/**
 * Looks for glibc through koffi. Never throws: whatever is missing comes back as a reason, in words.
 *
 * @param load brings the foreign function interface; replaced in tests
 */
export function findLibc(load: () => ForeignInterface = requireKoffi): LibcSearch {
  if (process.platform !== "linux")
    return { reason: `the system is ${process.platform}, not Linux` };
  // The structures and request numbers used are those of these two.
  if (process.arch !== "x64" && process.arch !== "arm64") {
    return { reason: `the processor is ${process.arch}, neither x64 nor arm64` };
  }
  if (process.env["PLATTER_LIBC"] === "none") return { reason: "PLATTER_LIBC is set to none" };
  let koffi: ForeignInterface;
  try {
    koffi = load();
  } catch {
    return { reason: "the optional package koffi is not installed" };
  }
  try {
    return { libc: bind(koffi) };
  } catch {
    return { reason: "the C library is not glibc" };
  }
}

function bind(koffi: ForeignInterface): Libc {
  const library = koffi.load("libc.so.6");
  const fallocate = library.func("int fallocate(int, int, int64_t, int64_t)");
  const posixFallocate = library.func("int posix_fallocate(int, int64_t, int64_t)");
  const lseek = library.func("int64_t lseek(int, int64_t, int)");
  // fcntl and ioctl are variadic in C; with a pointer as the only such argument, the calling
  // conventions of x86-64 and arm64 Linux pass it like a declared one.
  const fcntl = library.func("int fcntl(int, int, void *)");
  const ioctl = library.func("int ioctl(int, uint64_t, void *)");
  const fadvise = library.func("int posix_fadvise(int, int64_t, int64_t, int)");
  const preadv2 = library.func("int64_t preadv2(int, void *, int, int64_t, int)");
  // A struct iovec: where, and how many bytes.
  const vector = new BigUint64Array(2);
  const checked = (result: unknown): number => {
    const value = Number(result);
    return value < 0 ? -koffi.errno() : value;
  };
  return {
    fallocate: (fd, mode, offset, length) => checked(fallocate(fd, mode, offset, length)),
    posixFallocate: (fd, offset, length) =>
      new Promise((resolve) => {
        // Unlike the others, this one returns the error number itself.
        posixFallocate.async(fd, offset, length, (failure: unknown, result: unknown) => {
          resolve(failure === null || failure === undefined ? -Number(result) : -errno("EIO"));
        });
      }),
    lseek: (fd, offset, whence) => checked(lseek(fd, offset, whence)),
    fcntl: (fd, command, argument) => checked(fcntl(fd, command, argument)),
    ioctl: (fd, request, argument) => checked(ioctl(fd, request, argument)),
    posixFadvise: (fd, offset, length, advice) => -Number(fadvise(fd, offset, length, advice)),
    readCached(fd, into, offset) {
      vector[0] = koffi.address(into);
      vector[1] = BigInt(into.length);
      return checked(preadv2(fd, vector, 1, offset, RwfNowait));
    },
  };
}

let found: LibcSearch | undefined;

/** The outcome of {@link findLibc} for this process, looked for once, when first asked. */
export const systemLibc = (): LibcSearch => (found ??= findLibc());
