// One workload on this machine, from its registration to its exit status: sidecar first, then the application; at the end the other
// way round, so that no caller meets a closed port. Called by `isthmus run`.
import { resolve } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { workloadFolder } from "../../agent/site/credential-folder.ts";
import { endChild, exitStatus, hasEnded, signalGroup, type Child } from "../child-process.ts";
import { prepareEnvoy, type MakeProxy } from "../envoy/prepare.ts";
import { startEnvoy, type EnvoyCommand, type SocketAddress } from "../envoy/process.ts";
import { findApplication, startApplication } from "./application.ts";
import { credentialGone, waitForCredential, type WorkloadCredential } from "./credential.ts";
import { choosePath, type NetworkPath } from "./network-path.ts";
import type { RunConfig } from "./options.ts";
import { checkDataFolder, deregister, isDeclared, register, taken } from "./registration.ts";
import { checkMayRun, environmentOf, findUser, giveFolder, programAs, sidecarAs, type RunUser } from "./run-as.ts";
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
  readonly dns: Awaited<ReturnType<NetworkPath["open"]>>;
  readonly sidecarPid: number | undefined;
  readonly applicationPid: number | undefined;
}

/** Stops in order when `stop` aborts, at once when `kill` does. Resolves with the application's exit status. */
export async function runWorkload(
  config: RunConfig,
  deps: RunDeps,
  { stop, kill }: { readonly stop: AbortSignal; readonly kill: AbortSignal },
): Promise<number> {
  if (config.workload.redirect) (await import("../redirect/redirect.ts")).checkMayRedirect();
  const user = config.workload.user === "" ? undefined : await findUser(config.workload.user);
  const program = await findApplication(config.command[0] ?? "", deps.env);
  const from = { ...config.from, dir: resolve(config.from.dir) };
  const here: RunConfig = { ...config, from, command: [program, ...config.command.slice(1)] };
  if (from.kind === "data") await checkDataFolder(from.dir);
  const { namespace, name } = config.workload;
  // root's runtime folder is closed to the user that the sidecar will be
  const env = user === undefined ? deps.env : { ...deps.env, XDG_RUNTIME_DIR: "" };
  const path = runFolderPath(`${namespace}.${name}`, { from, env, uid: process.getuid?.() ?? 0 });
  const folder = await openRunFolder(path, (pid) => taken(config.workload, pid));
  try {
    return await registered({ config: here, user, folder }, deps, { stop, kill });
  } finally {
    await folder.remove();
  }
}

interface Stops {
  readonly stop: AbortSignal;
  readonly kill: AbortSignal;
}

interface Claimed {
  readonly config: RunConfig;
  /** Undefined: the one that runs this program. */
  readonly user: RunUser | undefined;
  readonly folder: RunFolder;
}

async function registered(claimed: Claimed, deps: RunDeps, stops: Stops): Promise<number> {
  const { config, user, folder } = claimed;
  const { workload, from } = config;
  const dir = from.kind === "credential" ? from.dir : workloadFolder(from.dir, workload);
  // what a process that was killed had registered is not declared by anybody, though its credential may still be there
  const own = from.kind === "data" && (folder.wasRegistered || !(await isDeclared(from.dir, workload, user?.uid)));
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
    const wanted = { workload, from, owner: user?.uid, registeredBy: own ? process.pid : undefined };
    credential = await waitForCredential(dir, wanted, deps.clock, stops.stop);
    return await supervised({ ...claimed, credential, envoy: await envoy, leave, fleetTold }, deps, stops);
  } finally {
    await leave();
    // the next one of this name must not take what is about to be removed for its own
    if (credential !== undefined) await fleetTold();
  }
}

interface Supervised extends Claimed {
  readonly credential: WorkloadCredential;
  readonly envoy: string;
  /** Ends the registration. */
  readonly leave: () => Promise<void>;
  /** After that: when the agent has answered it, or will not. */
  readonly fleetTold: () => Promise<void>;
}

async function supervised(input: Supervised, deps: RunDeps, stops: Stops): Promise<number> {
  const path = await choosePath(input.credential, input.config, deps.say);
  try {
    return await supervisedOn(path, input, deps, stops);
  } finally {
    await path.close();
  }
}

async function supervisedOn(path: NetworkPath, input: Supervised, deps: RunDeps, stops: Stops): Promise<number> {
  const { config, user, folder, credential, envoy } = input;
  await Promise.all([envoy, config.command[0] ?? ""].map((program) => checkMayRun(user, program)));
  const plan = {
    program: envoy,
    facts: credential,
    credentialDir: credential.dir,
    configDir: folder.path,
    needed: [...inboundSockets(credential.sidecar), ...calledSockets(credential.sidecar).map(socketText)],
    called: calledSockets(credential.sidecar),
    title: `the sidecar of ${credential.namespace}/${credential.name}`,
  };
  const command = wrapped(await prepareEnvoy(plan, deps.makeProxy), (own) => path.sidecarCommand(sidecarAs(user, own)));
  await giveFolder(user, folder.path);
  const sidecar = await startEnvoy(command, deps, stops.stop);
  const ending = new AbortController();
  const supervising = sidecar.run(ending.signal).catch((error: unknown) => {
    if (!ending.signal.aborted) throw error;
  });
  try {
    const dns = await path.open();
    const env = environmentOf(user, path.applicationEnv(deps.env));
    const application = startApplication(path.applicationCommand(programAs(user, config.command)), env);
    const running = { credential, dns, sidecarPid: sidecar.pid(), applicationPid: application.process.pid };
    if (!hasEnded(application)) deps.onReady(running);
    return await untilTheEnd(application, { ...input, adminSocket: command.adminSocket }, deps, stops);
  } finally {
    ending.abort(new Error("the workload has ended"));
    await supervising;
  }
}

function wrapped(envoy: EnvoyCommand, wrap: NetworkPath["sidecarCommand"]): EnvoyCommand {
  const [program = "", ...args] = wrap([envoy.program, ...envoy.arguments]);
  return { ...envoy, program, arguments: args };
}

function calledSockets({ httpProxy, redirect }: WorkloadCredential["sidecar"]): readonly SocketAddress[] {
  return [httpProxy, ...(redirect === undefined ? [] : [redirect])];
}

function socketText({ address, port }: SocketAddress): string {
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
