import type { Services } from "./contract.ts";

/** The services of the real program; each part is loaded when it is first needed. */
export const services: Services = {
  async command(name) {
    const commands = await import("../commands/index.ts");
    return commands[name];
  },
  async surroundings(onWarning, dataFilesFrom, timeout) {
    const { fileProvider, nodeCodecs, sameBytes } = await import("../host/index.ts");
    const provider = fileProvider({ onWarning, dataFilesFrom, timeout });
    return { provider, codecs: nodeCodecs, sameBytes };
  },
  async secretReader() {
    const { nodeSecretReader } = await import("../host/index.ts");
    return nodeSecretReader;
  },
  async missing() {
    const { missingCapabilities } = await import("../host/index.ts");
    return missingCapabilities();
  },
  laboratory: () => import("../lab/index.ts"),
  guests: () => import("../vm/index.ts"),
  async auditPolicy() {
    const { parseAuditPolicy } = await import("../commands/index.ts");
    return parseAuditPolicy;
  },
  usageWords: () => import("../commands/index.ts"),
  async formats() {
    const { formatServices } = await import("./format-services.ts");
    return formatServices;
  },
};
