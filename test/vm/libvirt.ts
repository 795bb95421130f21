/** What libvirt says to the guests that tests install. */
import { writeFileSync } from "node:fs";
import { expect } from "vitest";
import type { Peer } from "../peers.ts";
import { at, platter } from "./kit.ts";

/** The programs for it. */
export const libvirtPeers = ["virt-xml-validate", "xmllint", "virsh"] as const;

/** Has libvirt's schema and its test driver take what `install` with these words describes with `--print-xml`. */
export async function expectLibvirtTakes(
  validate: Peer,
  virsh: Peer,
  words: readonly string[],
): Promise<void> {
  const { code, stdout, stderr } = platter(...words, "--print-xml");
  expect(code, stderr).toBe(0);
  const path = at("described.xml");
  writeFileSync(path, stdout);
  const validated = await validate.run([path, "domain"]);
  expect(validated.stdout + validated.stderr).toContain("validates");
  const name = words[words.indexOf("--name") + 1];
  const commands = `define ${path}; dumpxml ${name}`;
  const defined = await virsh.run(["-q", "-c", "test:///default", commands]);
  expect(defined.stdout).toContain(`<name>${name}</name>`);
}
