import { once } from "node:events";
import { createServer } from "node:net";

/** A port of that address that nobody listens at now. */
export async function freePort(address: string): Promise<number> {
  const server = createServer();
  server.listen({ port: 0, host: address });
  await once(server, "listening");
  const bound = server.address();
  server.close();
  await once(server, "close");
  if (bound === null || typeof bound === "string") throw new TypeError("no port was bound");
  return bound.port;
}
