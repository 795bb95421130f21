import { describe, expect, it } from "vitest";
import { cloudInitSeed, metaData, readKeys, userData, type CloudInit } from "./cloud-init.ts";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMBqdWwM me@here";
const parse = (text: string): unknown => {
  const [first, ...rest] = text.split("\n");
  expect(first).toBe("#cloud-config");
  return JSON.parse(rest.join("\n"));
};

describe("user data", () => {
  it("makes an account with its keys", () => {
    expect(parse(userData({ user: "ada", sshKeys: [key], passwordHash: "$6$salt$hash" }))).toEqual({
      users: [
        "default",
        {
          name: "ada",
          shell: "/bin/bash",
          sudo: "ALL=(ALL) NOPASSWD:ALL",
          ssh_authorized_keys: [key],
          lock_passwd: false,
          passwd: "$6$salt$hash",
        },
      ],
    });
  });

  it("gives the distribution's account keys and a password that stays", () => {
    expect(parse(userData({ sshKeys: [key], password: 'with "quotes": #' }))).toEqual({
      ssh_authorized_keys: [key],
      password: 'with "quotes": #',
      chpasswd: { expire: false },
    });
    expect(parse(userData({}))).toEqual({});
  });
});

describe("a seed", () => {
  it("names its instance", () => {
    expect(JSON.parse(metaData({ hostname: "demo.lan" }, "id-1"))).toEqual({
      "instance-id": "id-1",
      "local-hostname": "demo.lan",
    });
    expect(cloudInitSeed({ user: "ada" }, "id-1").length % 2048).toBe(0);
  });

  it.each<[string, CloudInit]>([
    ["no name for an account", { user: "Ada Lovelace" }],
    ["no public key", { sshKeys: ["hello"] }],
    ["is a private key", { sshKeys: ["-----BEGIN OPENSSH PRIVATE KEY-----"] }],
    ["no hash", { passwordHash: "secret" }],
    ["control characters", { password: "a\nb" }],
    ["no name of a host", { hostname: "-x" }],
    ["is given as a file: accounts", { userData: new Uint8Array(1), user: "ada" }],
    ["is given as a file: the hostname", { metaData: new Uint8Array(1), hostname: "x" }],
    ["given twice", { password: "a", passwordHash: "$6$a$b" }],
  ])("is refused: %s", (message, options) => {
    expect(() => cloudInitSeed(options, "id")).toThrow(message);
  });

  it("takes keys from a file as ssh writes it", () => {
    expect(readKeys(`# mine\n\n${key}\r\n  ${key}\n`)).toEqual([key, key]);
  });
});
