// An Envoy beside this program: started, watched, started again when it dies, ended with it. Called for a workload's sidecar and
// for a site's gateway. What Envoy says is kept, not shown, except what a person can mend.
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { describeEnd, endChild, startChild, type Child } from "../child-process.ts";
import { isReady } from "./admin.ts";
import { readEnvoyLine } from "./log-line.ts";

const READY_MS = 20_000;
const READY_CHECK_MS = 25;
const BACKOFF = { baseMs: 100, maxMs: 5000 };
/** One that ran this long is started again at once: its death has nothing to do with the start. */
const SETTLED_MS = 10_000;
const STOP_MS = 5000;
const KEPT_LINES = 20;

export interface EnvoyCommand {
  readonly program: string;
  readonly arguments: readonly string[];
  /** Added to this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly adminSocket: string;
  /** Addresses (`host:port`) without which it is of no use: the start fails when one of them is taken. */
  readonly needed: readonly string[];
  /** Those of them on loopback that the program beside it calls: it is ready when they take connections, whatever its counters say. */
  readonly called?: readonly SocketAddress[];
  /** As a person calls it: `the sidecar of shop/cart`. */
  readonly title: string;
  /** Waited for however long it takes: a busy machine is no reason to end a whole site. */
  readonly patient?: boolean;
}

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

export interface EnvoyDeps {
  readonly clock: Clock;
  /** A line for the reader. */
  readonly say: (line: string) => void;
}

export interface KeptEnvoy {
  pid(): number | undefined;
  /** Task: starts it again whenever it dies, until the signal aborts; then ends it. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

interface Started {
  readonly child: Child;
  readonly lines: readonly string[];
  readonly atMs: number;
}

/** Starts Envoy and resolves when it has its first whole configuration. */
export async function startEnvoy(command: EnvoyCommand, deps: EnvoyDeps, signal: AbortSignal): Promise<KeptEnvoy> {
  let current = launch(command, deps);
  try {
    await firstReady(command, current, deps, signal);
  } catch (error) {
    await endChild(current.child, STOP_MS);
    throw error;
  }
  return {
    pid: () => current.child.process.pid,
    run: async (stop) => {
      try {
        for (let attempt = 0; ; attempt += 1) {
          const end = await Promise.race([current.child.ended, aborted(stop)]);
          if (end === undefined) return;
          if (deps.clock.now() - current.atMs > SETTLED_MS) attempt = 0;
          const delayMs = attempt === 0 ? 0 : backoffDelayMs(attempt - 1, BACKOFF, Math.random());
          deps.say(`${command.title} ${describeEnd(end)} and is started again in ${delayMs} ms${why(current)}`);
          await deps.clock.sleep(delayMs, stop);
          current = launch(command, deps);
        }
      } finally {
        await endChild(current.child, STOP_MS);
      }
    },
  };
}

function launch({ program, arguments: args, environment, title }: EnvoyCommand, { clock, say }: EnvoyDeps): Started {
  const child = startChild([program, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...environment },
  });
  const lines: string[] = [];
  const said = new Set<string>();
  if (child.process.stderr !== null) {
    createInterface({ input: child.process.stderr }).on("line", (line) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
      const fact = readEnvoyLine(line);
      if (fact === undefined || said.has(fact.text)) return;
      said.add(fact.text);
      say(`${title} ${fact.text}`);
    });
  }
  return { child, lines, atMs: clock.now() };
}

async function firstReady(
  command: EnvoyCommand,
  started: Started,
  { clock, say }: EnvoyDeps,
  signal: AbortSignal,
): Promise<void> {
  let end: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;
  void started.child.ended.then((value) => (end = value));
  let deadline = clock.now() + READY_MS;
  const late = `has no configuration after ${READY_MS / 1000} s`;
  const isUsable = async () =>
    (await isReady(command.adminSocket)) &&
    (missingAddress(command, started) !== undefined || (await allTakeConnections(command.called ?? [])));
  while (!(await isUsable())) {
    if (end !== undefined) throw startFailure(command, started, describeEnd(end));
    if (clock.now() > deadline) {
      const failure = startFailure(command, started, late);
      if (command.patient !== true || failure.code === "ISTHMUS_PORT_TAKEN") throw failure;
      say(failure.message);
      deadline = Infinity;
    }
    await clock.sleep(READY_CHECK_MS, signal);
  }
  const unbound = missingAddress(command, started);
  if (unbound !== undefined) throw unbound;
}

async function allTakeConnections(sockets: readonly SocketAddress[]): Promise<boolean> {
  const taken = await Promise.all(sockets.map(takesConnections));
  return taken.every(Boolean);
}

function takesConnections({ address, port }: SocketAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, address);
    const answer = (taken: boolean) => {
      socket.destroy();
      resolve(taken);
    };
    socket.once("connect", () => answer(true)).once("error", () => answer(false));
  });
}

/** Envoy counts as ready without a listener that it could not bind. */
function missingAddress({ title, needed }: EnvoyCommand, { lines }: Started): UserError | undefined {
  const fact = lines.map(readEnvoyLine).find((each) => each !== undefined && needed.includes(each.address));
  if (fact === undefined) return undefined;
  return new UserError("ISTHMUS_PORT_TAKEN", `${title} ${fact.text}`, {
    hint: "end the program that listens there, or choose another port or address",
  });
}

function startFailure(command: EnvoyCommand, started: Started, what: string): UserError {
  const unbound = missingAddress(command, started);
  if (unbound !== undefined) return unbound;
  const { title, program } = command;
  const { lines } = started;
  return new UserError("ISTHMUS_ENVOY_START", `${title} ${what}`, {
    cause: new Error(lines.slice(-3).join(" | ") || `${program} said nothing`),
    hint: "its last lines are shown; without any, look whether the site's agent runs and is reached",
  });
}

function why({ lines }: Started): string {
  const last = lines.findLast((line) => /critical|error|assert/i.test(line));
  return last === undefined ? "" : `: ${last}`;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
