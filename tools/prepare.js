// npm's "prepare": builds dist/ after `npm ci` in a checkout and before a package is made. Plain
// JavaScript for any Node, because without the development dependencies (`--omit=dev`) there may be
// only an old one; bin/platter.js then runs the TypeScript sources, and nothing has to be built.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const installed = (name) =>
  existsSync(new URL(`../node_modules/${name}/package.json`, import.meta.url));

/** Why there can be no build here, if so. */
function obstacle() {
  const missing = ["tsdown", "typescript"].filter((name) => !installed(name));
  if (missing.length > 0) return `${missing.join(" and ")} not installed`;
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 22 || (major === 22 && minor < 18)) {
    return `Node ${process.versions.node} is too old for the build tools (22.18 or newer)`;
  }
  return undefined;
}

const reason = obstacle();
if (reason === undefined) {
  const tsdown = fileURLToPath(new URL("../node_modules/tsdown/dist/run.mjs", import.meta.url));
  const { status } = spawnSync(process.execPath, [tsdown, "--log-level", "warn"], {
    cwd: root,
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
} else {
  console.error(`platter-img: dist/ is not built: ${reason}`);
}
