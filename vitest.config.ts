import { playwright } from "@vitest/browser-playwright";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
import manifest from "./package.json" with { type: "json" };
import { findPeer } from "./tools/peers.ts";
import { TotalsReporter } from "./tools/totals-reporter.ts";

const ci = process.env["CI"] === "true";
const long = process.env["LONG"] === "1";
const seed = Number(process.env["SEED"] ?? 1);
if (!Number.isSafeInteger(seed)) throw new Error(`SEED=${process.env["SEED"]} is not a number.`);

/** Shared by all projects. Property tests get far more time than they need on an idle machine. */
const common = {
  setupFiles: ["tools/test-setup.ts"],
  provide: { effort: long ? 20 : 1, seed: long && process.env["SEED"] === undefined ? null : seed },
  testTimeout: long ? 1_200_000 : 60_000,
  hookTimeout: 60_000,
};

const unit: TestProjectConfiguration = {
  test: {
    ...common,
    name: "unit",
    include: ["src/**/*.test.ts", "tools/**/*.test.ts", "bench/**/*.test.ts"],
  },
};

const cross: TestProjectConfiguration = {
  test: {
    ...common,
    name: "cross",
    include: ["test/**/*.test.ts"],
    testTimeout: long ? 3_600_000 : 300_000,
    hookTimeout: 300_000,
    // Peers, disks and threads are shared: more at once would only wait for each other.
    maxWorkers: 2,
  },
};

const chromium = findPeer("chromium");
// The sandbox refuses to work for root, and what phones home or needs a GPU has no place in a test.
const chromiumFlags = [
  ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
];

const browser: TestProjectConfiguration = {
  // Without vite's remarks on vitest's own files.
  logLevel: "error",
  // Named here, so that vite does not come across them in mid-run and load the page anew.
  optimizeDeps: { include: ["fast-check", ...Object.keys(manifest.dependencies)] },
  test: {
    ...common,
    name: "browser",
    include: [
      "src/{bytes,codec,storage,disk,formats,copy,commands}/**/*.test.ts",
      "src/{core,errors}.test.ts",
    ],
    exclude: ["**/*.node.test.ts"],
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({
        launchOptions: { executablePath: chromium ?? "chromium", args: chromiumFlags },
      }),
      instances: [{ browser: "chromium" }],
    },
  },
};

// Under CI=true the browser's tests stay, and fail, when there is no browser.
const withBrowser = chromium !== undefined || ci;
const notes = withBrowser ? [] : ["The tests in a browser were skipped: no chromium."];

export default defineConfig({
  cacheDir: ".cache/vite",
  test: {
    projects: withBrowser ? [unit, browser, cross] : [unit, cross],
    reporters: ["default", new TotalsReporter(notes)],
  },
});
