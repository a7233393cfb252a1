// The Envoy of a site's gateway: a child of `isthmus site`, started from the gateway's credential folder.
import type { Clock } from "../shared/clock.ts";
import type { GatewayAddress } from "../shared/registry.ts";
import { UserError } from "../shared/errors.ts";
import { readCredentialFolder } from "../agent/site/credential-folder.ts";
import { connectionsOf, startDraining } from "./envoy/admin.ts";
import { prepareEnvoy, type MakeProxy } from "./envoy/prepare.ts";
import { startEnvoy } from "./envoy/process.ts";
import type { RunFolder } from "./workload/run-folder.ts";

/** Connections of other members live as long as their sidecars keep them: this is for the calls that are on their way. */
const DRAIN_MS = 1000;
const DRAIN_CHECK_MS = 25;

export interface Gateway {
  readonly program: string;
  readonly folder: RunFolder;
  readonly bind: GatewayAddress;
  readonly makeProxy: MakeProxy;
}

export interface GatewayDeps {
  readonly clock: Clock;
  readonly say: (line: string) => void;
  readonly onReady: (pid: number | undefined) => void;
}

/** Runs until the signal aborts, then drains. */
export async function runGateway(
  { program, folder, bind, makeProxy }: Gateway,
  credentialDir: string,
  deps: GatewayDeps,
  signal: AbortSignal,
): Promise<void> {
  const facts = await readCredentialFolder(credentialDir);
  if (facts === undefined)
    throw new UserError("ISTHMUS_CREDENTIAL", `the gateway has no credential in ${credentialDir}`);
  const needed = [`${bind.host.includes(":") ? `[${bind.host}]` : bind.host}:${bind.port}`];
  const plan = { program, facts, credentialDir, configDir: folder.path, needed, title: "the site's gateway" };
  const command = { ...(await prepareEnvoy(plan, makeProxy)), patient: true };
  const gateway = await startEnvoy(command, deps, signal);
  deps.onReady(gateway.pid());
  const drained = new AbortController();
  const drain = () => void drainGateway(folder.adminSocket, deps.clock).finally(() => drained.abort(signal.reason));
  signal.addEventListener("abort", drain, { once: true });
  if (signal.aborted) drain();
  await gateway.run(drained.signal);
}

async function drainGateway(adminSocket: string, clock: Clock): Promise<void> {
  const deadline = clock.now() + DRAIN_MS;
  await startDraining(adminSocket);
  for (const never = new AbortController().signal; clock.now() < deadline;) {
    if (((await connectionsOf(adminSocket, "gateway")) ?? 0) === 0) return;
    await clock.sleep(DRAIN_CHECK_MS, never);
  }
}
