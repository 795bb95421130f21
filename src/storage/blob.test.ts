import { expect, test } from "vitest";
import { BlobStorage } from "./blob.ts";

const data = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

test("reads slices of a file, under its name", async () => {
  const storage = new BlobStorage(new File([data.slice(0, 600), data.slice(600)], "disk.qcow2"));
  expect([storage.name, storage.size]).toEqual(["disk.qcow2", 1000]);
  const into = new Uint8Array(100);
  expect(await storage.read(550, into)).toBe(100);
  expect(into).toEqual(data.slice(550, 650));
});

test("a read at the end is short, and leaves the rest of the buffer alone", async () => {
  const storage = new BlobStorage(new Blob([data]));
  const into = new Uint8Array(4).fill(7);
  expect(await storage.read(998, into)).toBe(2);
  expect(into).toEqual(Uint8Array.of(data[998]!, data[999]!, 7, 7));
  expect(await storage.read(1000, into)).toBe(0);
  expect(await storage.read(2 ** 50, into)).toBe(0);
  await expect(storage.read(-1, into)).rejects.toMatchObject({ code: "E_INVALID_ARGUMENT" });
});

test("cannot be written, and says so by not having the methods", () => {
  const storage = new BlobStorage(new Blob([]), "given");
  expect(storage.name).toBe("given");
  for (const method of ["write", "writeSync", "truncate", "flush"]) {
    expect(method in storage).toBe(false);
  }
});

test("a browser that refuses is an E_IO with the file's name", async () => {
  const blob = new File([data], "gone.img");
  blob.slice = () => {
    const part = new Blob([]);
    part.arrayBuffer = () => Promise.reject(new DOMException("gone", "NotReadableError"));
    return part;
  };
  await expect(new BlobStorage(blob).read(5, new Uint8Array(1))).rejects.toMatchObject({
    code: "E_IO",
    message: expect.stringContaining("gone.img"),
    details: { offset: 5 },
  });
});

test("is closed once it is closed", async () => {
  const storage = new BlobStorage(new Blob([data]));
  await storage.close();
  await expect(storage.read(0, new Uint8Array(1))).rejects.toMatchObject({ code: "E_CLOSED" });
});
