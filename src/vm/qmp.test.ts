import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { QmpClient } from "./qmp.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-qmp-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = join(directory, "qmp");
let server: Server | undefined;
afterEach(
  async () => new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined))),
);

interface Message {
  readonly id: string;
  readonly execute: string;
  readonly arguments?: unknown;
}

const GREETING =
  '{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}, "capabilities": []}}\r\n';

/** Something that greets, then answers each message as `answer` says. */
async function listen(
  answer: (message: Message, socket: Socket) => string,
  greeting = GREETING,
): Promise<void> {
  server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(greeting);
    let text = "";
    socket.setEncoding("utf8").on("data", (part: string) => {
      const lines = (text + part).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) socket.write(answer(JSON.parse(line) as Message, socket));
    });
  });
  await new Promise<void>((resolve) => server?.listen(path, resolve));
}

const well = ({ id }: Message): string => `{"return": {}, "id": "${id}"}\n`;
const options = { timeout: 300 };

describe("a QMP client", () => {
  it("greets, executes, and gives answers to who asked, in any order and in pieces", async () => {
    let kept = "";
    await listen((message, socket) => {
      if (message.execute === "qmp_capabilities") return well(message);
      if (message.execute === "first") {
        kept = `{"return": ${JSON.stringify(message.arguments)}, "id": "${message.id}"}\n`;
        return "";
      }
      setTimeout(() => socket.write(kept.slice(20)), 20);
      return `{"return": 2, "id": "${message.id}"}\n${kept.slice(0, 20)}`;
    });
    await using client = await QmpClient.connect(path, options);
    expect(client.version).toBe("7.2.22");
    const first = client.execute("first", { with: "words" });
    const second = client.execute("second");
    expect(await second).toBe(2);
    expect(await first).toEqual({ with: "words" });
  });

  it("says what QEMU says about a command that fails", async () => {
    await listen((message) =>
      message.execute === "qmp_capabilities"
        ? well(message)
        : `{"error": {"class": "GenericError", "desc": "No such thing"}, "id": "${message.id}"}\n`,
    );
    await using client = await QmpClient.connect(path, options);
    await expect(client.execute("x")).rejects.toMatchObject({
      code: "E_EXTERNAL",
      message: "QEMU: No such thing",
    });
  });

  it("passes events on until nobody listens", async () => {
    await listen(
      (message) =>
        `{"event": "STOP", "timestamp": {}}\n{"event": "E", "data": {"n": 1}}\n${well(message)}`,
    );
    await using client = await QmpClient.connect(path, options);
    const seen: string[] = [];
    const stop = client.onEvent(({ name, data }) => seen.push(`${name} ${data.has("n")}`));
    await client.execute("x");
    stop();
    await client.execute("x");
    expect(seen).toEqual(["STOP false", "E true"]);
  });

  it.each([
    ["nothing", ""],
    ["something else", "220 smtp.example.org\r\n"],
    ["another object", '{"hello": 1}\n{"QMP": {}}\n'],
    ["a number", "7\n"],
    ["a version that is none", '{"QMP": {"version": {"qemu": {"major": "7"}}}}\n'],
  ])("is not taken in by what greets with %s", async (_what, greeting) => {
    await listen(well, greeting);
    await expect(QmpClient.connect(path, options)).rejects.toMatchObject({ code: "E_EXTERNAL" });
  });

  it("does not wait for ever, and not for who is not there", async () => {
    await listen((message) => (message.execute === "qmp_capabilities" ? well(message) : ""));
    await using client = await QmpClient.connect(path, options);
    await expect(client.execute("query-status")).rejects.toThrow(
      "answer to query-status did not come within 0.3 seconds",
    );
    await expect(QmpClient.connect(join(directory, "nobody"))).rejects.toMatchObject({
      code: "E_NOT_FOUND",
    });
  });

  it("fails what is under way when QEMU ends, and what comes after", async () => {
    await listen((message, socket) => {
      if (message.execute === "qmp_capabilities") return well(message);
      socket.destroy();
      return "";
    });
    await using client = await QmpClient.connect(path, options);
    await expect(client.execute("quit")).rejects.toThrow("QEMU has ended");
    await expect(client.execute("more")).rejects.toThrow("QEMU has ended");
    await client.ended;
  });

  it("is cancelled by its signal", async () => {
    await listen((message) => (message.execute === "qmp_capabilities" ? well(message) : ""));
    const controller = new AbortController();
    await using client = await QmpClient.connect(path, { signal: controller.signal });
    const waiting = client.execute("x");
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: "E_ABORTED" });
  });
});
