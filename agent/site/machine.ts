// What the site must know of the machine it runs on: free ports, ports that need a privilege, the numbers of users.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import process from "node:process";
import { promisify } from "node:util";
import { UserError } from "../../shared/errors.ts";

const FIRST_PROXY_PORT = 15_100;
const LAST_PROXY_PORT = 16_100;
/** Where Linux does not say otherwise; macOS has no setting for one address. */
const PRIVILEGED_PORTS_END = 1024;
const run = promisify(execFile);

/** Lowest port that a user without privileges may bind. */
export async function lowestUnprivilegedPort(): Promise<number> {
  try {
    const text = await readFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8");
    return Math.max(1, Number(text));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return PRIVILEGED_PORTS_END;
    throw error;
  }
}

/** Up to `count` ports of 127.0.0.1 on which nothing listens now. */
export async function freeProxyPorts(count: number, taken: ReadonlySet<number>): Promise<readonly number[]> {
  const free: number[] = [];
  for (let port = FIRST_PROXY_PORT; port <= LAST_PROXY_PORT && free.length < count; port += 1) {
    if (!taken.has(port) && (await isFree(port))) free.push(port);
  }
  return free;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** The number of a user by name or number; undefined: the one that runs this program. */
export async function userNumber(user: string): Promise<number | undefined> {
  if (user === "") return undefined;
  if (/^\d+$/.test(user)) return Number(user);
  try {
    return Number((await run("id", ["-u", "--", user])).stdout.trim());
  } catch (cause) {
    throw new UserError("ISTHMUS_WORKLOAD_USER", `this machine has no user ${user}`, {
      cause,
      hint: "mend spec.user of the Workload, or make the user",
    });
  }
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}
