// A TCP proxy on loopback that can fall silent: connections stay open, bytes no longer pass, nobody is told. That is what
// a dead node or a lost NAT entry looks like. For tests only.
import { connect, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

export interface SilentProxy {
  readonly port: number;
  /** Existing connections go silent for ever; new ones work. */
  silence(): void;
  /** Existing connections are reset and new ones refused until `allow`. */
  refuse(): void;
  allow(): void;
  /** Connections accepted so far. */
  accepted(): number;
  /** Client connections now open. */
  open(): number;
  close(): Promise<void>;
}

export async function startSilentProxy(targetPort: number): Promise<SilentProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let refusing = false;
  let accepted = 0;
  const server: Server = createServer((client) => {
    if (refusing) {
      client.resetAndDestroy();
      return;
    }
    accepted += 1;
    const upstream = connect(targetPort, "127.0.0.1");
    const pair = [client, upstream] as const;
    pairs.add(pair);
    const end = () => {
      client.destroy();
      upstream.destroy();
      pairs.delete(pair);
    };
    client.on("error", end).on("close", end);
    upstream.on("error", end).on("close", end);
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    silence: () => {
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream);
        upstream.unpipe(client);
        client.pause();
        upstream.pause();
      }
    },
    refuse: () => {
      refusing = true;
      for (const [client] of [...pairs]) client.resetAndDestroy();
    },
    allow: () => {
      refusing = false;
    },
    accepted: () => accepted,
    open: () => pairs.size,
    close: async () => {
      for (const [client, upstream] of [...pairs]) {
        client.destroy();
        upstream.destroy();
      }
      server.close();
      await once(server, "close");
    },
  };
}
