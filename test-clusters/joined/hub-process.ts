// The fleet's hub as a process in a network namespace of its own, with its embedded Redis: reachable from every
// cluster at one address, and killed and started again by tests like any other program.
import process from "node:process";
import type { Fleet } from "../fleet.ts";
import { runPaths } from "../run/paths.ts";
import { endProcess, logTail, readProcess } from "../run/processes.ts";
import type { ProcessRecord } from "../run/processes.ts";
import { isAlive } from "../machine/proc.ts";
import { join } from "node:path";
import { fleetDomain } from "../stage/fleet-domain.ts";
import { isthmusProgram, type Product } from "../stage/product.ts";
import { until } from "../stage/until.ts";

const GRPC_PORT = 8443;
const HTTP_PORT = 8081;

export interface HubProcess {
  readonly process: ProcessRecord;
  /** What agents are told to dial. */
  readonly address: string;
}

export async function initHub(fleet: Fleet, product: Product): Promise<void> {
  const { address, dataDir } = fleet.hub;
  const advertise = `${address}:${GRPC_PORT}`;
  await product.isthmus(["init", fleetDomain, "--data", dataDir, "--advertise", advertise]);
}

export function hubReadyUrl({ hub }: Fleet): string {
  return `http://${hub.address}:${HTTP_PORT}/readyz`;
}

/** Starts the hub and waits until it is ready to serve. */
export async function startHub(fleet: Fleet, options: readonly string[] = []): Promise<HubProcess> {
  const { netns, address, dataDir } = fleet.hub;
  const listen = ["--listen", `${address}:${GRPC_PORT}`, "--http", `${address}:${HTTP_PORT}`];
  const argv = [process.execPath, isthmusProgram, "hub", "--data", dataDir, ...listen, ...options];
  const started = await fleet.spawnIn(netns, argv, { name: "hub" });
  const readyUrl = hubReadyUrl(fleet);
  await until("the hub to be ready", 30_000, async () => {
    if (!isAlive(started)) throw new Error(`the hub ended: ${await logTail(join(fleet.logsDir, "hub.log"), 8)}`);
    return fetch(readyUrl).then(
      (response) => response.ok,
      () => false,
    );
  });
  return { process: started, address: `${address}:${GRPC_PORT}` };
}

/** The hub that another process of this run started. */
export async function adoptHub(fleet: Fleet): Promise<HubProcess> {
  const record = await readProcess(runPaths(fleet.runId), "hub");
  if (record === undefined) throw new Error(`run ${fleet.runId} has no hub`);
  return { process: record, address: `${fleet.hub.address}:${GRPC_PORT}` };
}

/** kill -9: nothing of the hub gets to say goodbye. */
export async function killHub(hub: HubProcess): Promise<void> {
  await endProcess(hub.process, "SIGKILL", 5_000);
}
