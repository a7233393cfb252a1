// One workload on this machine, from its registration to its exit status: sidecar first, then the application; at the end the other
// way round, so that no caller meets a closed port. Called by `isthmus run`.
import { resolve } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { workloadFolder } from "../../agent/site/credential-folder.ts";
import { endChild, exitStatus, hasEnded, signalGroup, type Child } from "../child-process.ts";
import { prepareEnvoy, type MakeProxy } from "../envoy/prepare.ts";
import { startEnvoy } from "../envoy/process.ts";
import { applicationEnv, findApplication, startApplication } from "./application.ts";
import { credentialGone, waitForCredential, type WorkloadCredential } from "./credential.ts";
import { startWorkloadDns, type WorkloadDns } from "./dns.ts";
import type { RunConfig } from "./options.ts";
import { checkDataFolder, deregister, isDeclared, register, taken } from "./registration.ts";
import { openRunFolder, runFolderPath, type RunFolder } from "./run-folder.ts";
import { drainSidecar, inboundSockets } from "./sidecar.ts";

/** The agent answers a registration that ended within milliseconds; without an answer nobody waits longer. */
const FLEET_MS = 2000;
const DRAIN_MS = 5000;
const GRACE_MS = 10_000;
const EARLY_MS = 5000;

export interface RunDeps {
  readonly clock: Clock;
  readonly env: NodeJS.ProcessEnv;
  /** Finds Envoy, fetching it if need be; asked while the agent makes the credential. */
  readonly findEnvoy: () => Promise<string>;
  readonly makeProxy: MakeProxy;
  readonly say: (line: string) => void;
  readonly onReady: (running: Running) => void;
}

export interface Running {
  readonly credential: WorkloadCredential;
  /** Where names are answered. */
  readonly dns: WorkloadDns["at"];
  readonly sidecarPid: number | undefined;
  readonly applicationPid: number | undefined;
}

/** Stops in order when `stop` aborts, at once when `kill` does. Resolves with the application's exit status. */
export async function runWorkload(
  config: RunConfig,
  deps: RunDeps,
  { stop, kill }: { readonly stop: AbortSignal; readonly kill: AbortSignal },
): Promise<number> {
  const program = await findApplication(config.command[0] ?? "", deps.env);
  const from = { ...config.from, dir: resolve(config.from.dir) };
  const here: RunConfig = { ...config, from, command: [program, ...config.command.slice(1)] };
  if (from.kind === "data") await checkDataFolder(from.dir);
  const { namespace, name } = config.workload;
  const path = runFolderPath(`${namespace}.${name}`, { from, env: deps.env, uid: process.getuid?.() ?? 0 });
  const folder = await openRunFolder(path, (pid) => taken(config.workload, pid));
  try {
    return await registered(here, folder, deps, { stop, kill });
  } finally {
    await folder.remove();
  }
}

interface Stops {
  readonly stop: AbortSignal;
  readonly kill: AbortSignal;
}

async function registered(config: RunConfig, folder: RunFolder, deps: RunDeps, stops: Stops): Promise<number> {
  const { workload, from } = config;
  const dir = from.kind === "credential" ? from.dir : workloadFolder(from.dir, workload);
  // what a process that was killed had registered is not declared by anybody, though its credential may still be there
  const own = from.kind === "data" && (folder.wasRegistered || !(await isDeclared(from.dir, workload)));
  if (own) {
    await folder.remember(true);
    await register(from.dir, workload);
  }
  const leave = async () => {
    if (own) await deregister(from.dir, workload);
  };
  // asked once: where the agent is away, nobody waits twice
  let told: Promise<boolean> | undefined;
  const fleetTold = async () => {
    if (own) await (told ??= credentialGone(dir, FLEET_MS, deps.clock));
  };
  let credential: WorkloadCredential | undefined;
  try {
    const envoy = deps.findEnvoy();
    envoy.catch(() => undefined); // awaited below, after what is told first
    credential = await waitForCredential(dir, config, deps.clock, stops.stop);
    return await supervised({ config, folder, credential, envoy: await envoy, leave, fleetTold }, deps, stops);
  } finally {
    await leave();
    // the next one of this name must not take what is about to be removed for its own
    if (credential !== undefined) await fleetTold();
  }
}

interface Supervised {
  readonly config: RunConfig;
  readonly folder: RunFolder;
  readonly credential: WorkloadCredential;
  readonly envoy: string;
  /** Ends the registration. */
  readonly leave: () => Promise<void>;
  /** After that: when the agent has answered it, or will not. */
  readonly fleetTold: () => Promise<void>;
}

async function supervised(input: Supervised, deps: RunDeps, stops: Stops): Promise<number> {
  const { config, folder, credential, envoy } = input;
  const plan = {
    program: envoy,
    facts: credential,
    credentialDir: credential.dir,
    configDir: folder.path,
    needed: [...inboundSockets(credential.sidecar), socketText(credential.sidecar.httpProxy)],
    title: `the sidecar of ${credential.namespace}/${credential.name}`,
  };
  const command = await prepareEnvoy(plan, deps.makeProxy);
  const sidecar = await startEnvoy(command, deps, stops.stop);
  const ending = new AbortController();
  const supervising = sidecar.run(ending.signal).catch((error: unknown) => {
    if (!ending.signal.aborted) throw error;
  });
  let dns: WorkloadDns | undefined;
  try {
    dns = await startWorkloadDns(credential, { forward: config.dnsForward }, deps.say);
    const application = startApplication(config.command, applicationEnv(deps.env, credential.sidecar));
    const running = { credential, dns: dns.at, sidecarPid: sidecar.pid(), applicationPid: application.process.pid };
    if (!hasEnded(application)) deps.onReady(running);
    return await untilTheEnd(application, { ...input, adminSocket: command.adminSocket }, deps, stops);
  } finally {
    await dns?.close();
    ending.abort(new Error("the workload has ended"));
    await supervising;
  }
}

function socketText({ address, port }: { readonly address: string; readonly port: number }): string {
  return `${address}:${port}`;
}

async function untilTheEnd(
  application: Child,
  { adminSocket, config, leave, fleetTold }: Supervised & { readonly adminSocket: string },
  { clock, say }: RunDeps,
  { stop, kill }: Stops,
): Promise<number> {
  const startedAtMs = clock.now();
  const killNow = () => signalGroup(application, "SIGKILL");
  kill.addEventListener("abort", killNow, { once: true });
  if (kill.aborted) killNow();
  try {
    const end = await Promise.race([application.ended, aborted(stop)]);
    await leave();
    if (end !== undefined) {
      if (clock.now() - startedAtMs < EARLY_MS) sayWhyEarly(config, exitStatus(end), say);
      return exitStatus(end);
    }
    const ended = application.ended.then(() => undefined);
    const goodbye = async () => {
      await fleetTold();
      await drainSidecar(adminSocket, DRAIN_MS, clock);
    };
    await Promise.race([goodbye(), ended]);
    const stopped = await endChild(application, GRACE_MS);
    if (stopped.signal === "SIGKILL") say(`${config.command[0] ?? ""} did not end within ${GRACE_MS / 1000} s`);
    return exitStatus(stopped);
  } finally {
    kill.removeEventListener("abort", killNow);
  }
}

/** The commonest mistake: an application that listens on all addresses wants the port that its sidecar has. */
function sayWhyEarly({ workload }: RunConfig, status: number, say: RunDeps["say"]): void {
  const [shared] = workload.ports.filter(({ port, applicationPort }) => port === applicationPort);
  if (status === 0 || shared === undefined) return;
  const { port } = shared;
  const other = `--port ${port}=${port + 1000}`;
  say(
    `if the application could not listen on ${port}: its sidecar does; listen on 127.0.0.1 alone, or elsewhere: ${other}`,
  );
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((done) => {
    if (signal.aborted) done(undefined);
    else signal.addEventListener("abort", () => done(undefined), { once: true });
  });
}
