// What tests that run at the same time must not share: ports and loopback addresses. Every process of tests has a ground of its own, of this
// run or of another on the machine: a socket that it keeps open says whose it is, and a process that is killed gives it back.
import { createServer, type Server } from "node:net";

export interface Ground {
  /** The first two bytes of loopback addresses that nobody else uses: `127.117` is good for 127.117.0.0/16. */
  readonly net: string;
  /** One that nobody listens on; the next call gives another. */
  port(): Promise<number>;
}

/** Below the ports of outgoing connections, which could take one first (net.ipv4.ip_local_port_range). */
const FIRST_PORT = 20_000;
/** The first port of a ground is its mark. */
const PORTS = 100;
const GROUNDS = 100;
/** The networks before it are the product's own defaults and the end-to-end suites'. */
const FIRST_NET = 130;
/** Held by whoever works alone. */
const TURN_PORT = FIRST_PORT - 1;
const TURN_MS = 60_000;

let own: Promise<Ground> | undefined;

/** The same one at every call of a process. */
export function ownGround(): Promise<Ground> {
  own ??= claimed();
  return own;
}

/** Work that must not meet the same of another process, such as what looks at all that the machine has. */
export async function alone(work: () => Promise<void>): Promise<void> {
  const end = performance.now() + TURN_MS;
  for (let turn = await kept(TURN_PORT); ; turn = await kept(TURN_PORT)) {
    if (turn !== undefined) return work().finally(() => turn.close());
    if (performance.now() > end) throw new Error(`others are at work for ${TURN_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function claimed(): Promise<Ground> {
  for (let turn = 0; turn < GROUNDS; turn += 1) {
    const index = (process.pid + turn) % GROUNDS;
    const first = FIRST_PORT + index * PORTS;
    if ((await kept(first)) !== undefined) return groundOf(first, `127.${FIRST_NET + index}`);
  }
  throw new Error(`all ${GROUNDS} grounds for tests are in use`);
}

/** Kept open for as long as the process lives, without keeping it alive. */
function kept(port: number): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy()).unref();
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined)).listen(port, "127.0.0.1", () => resolve(server));
  });
}

function groundOf(first: number, net: string): Ground {
  let given = 0;
  const next = () => first + 1 + (given++ % (PORTS - 1));
  return {
    net,
    port: async () => {
      for (let turn = 1; turn < PORTS; turn += 1) {
        const port = next();
        if (await isFree(port)) return port;
      }
      throw new Error(`something listens on every port from ${first} to ${first + PORTS - 1}`);
    },
  };
}

/** On no address of the machine: a test may want any of them. */
function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false)).listen(port, () => server.close(() => resolve(true)));
  });
}
