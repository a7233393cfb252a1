// One site of a run: its agent and gateway as `isthmus site` runs them, and what is done to them. The gateway's program is
// a link, so that a gateway can be kept away: its agent finds nothing to start.
import { mkdir, rm, symlink } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { isAlive } from "../machine/proc.ts";
import type { Member } from "../stage/fleet-under-test.ts";
import { until } from "../stage/until.ts";
import type { SitePlace } from "./places.ts";
import { processesOfRun, programOf, signalAll } from "./process-table.ts";
import type { SiteProcesses } from "./site-processes.ts";

const READY_MS = 30_000;
const GATEWAY_MS = 60_000;

export interface SiteMember extends Member {
  readonly place: SitePlace;
  readonly dataDir: string;
  readonly manifestsDir: string;
  readonly tokenFile: string;
  /** Starts agent and gateway; resolves when the agent's health surface answers. */
  start(): Promise<void>;
  /** Until it takes part in the fleet. */
  ready(): Promise<void>;
  /** As the agent sees them. */
  workloads(): Promise<readonly WorkloadState[]>;
  /** GET of the agent's admin surface. */
  debug(view: string): Promise<unknown>;
  adminUrl(path: string): string;
  /** Stops or continues every process of the site, its workloads included. */
  signalAll(signal: "SIGSTOP" | "SIGCONT"): void;
}

export interface WorkloadState {
  readonly namespace: string;
  readonly name: string;
  readonly ready: boolean;
}

export interface SiteParts {
  readonly folder: string;
  readonly place: SitePlace;
  readonly processes: SiteProcesses;
  readonly envoy: string;
  /** More words of `isthmus site`. */
  readonly options?: readonly string[];
}

/** Every process of a member carries its name. */
export const memberMark = "ISTHMUS_TEST_MEMBER";

export function siteMember({ folder, place, processes, envoy, options = [] }: SiteParts): SiteMember {
  const { name, address } = place;
  const home = join(folder, name);
  const [dataDir, manifestsDir, link] = [join(home, "data"), join(home, "manifests"), join(home, "envoy")];
  const tokenFile = join(home, "token");
  const adminUrl = (path: string) => `http://${address}:${place.adminPort}${path}`;
  const answers = (path: string) =>
    fetch(adminUrl(path)).then(
      (response) => response.ok,
      () => false,
    );
  const untilAnswers = (path: string, what: string) =>
    until(what, READY_MS, async () => {
      if (!(await processes.isRunning(name)))
        throw new Error(`the site ${name} ended: ${await processes.lastWords(name)}`);
      return answers(path);
    });
  const debug = async (view: string): Promise<unknown> => (await fetch(adminUrl(`/debug/${view}`))).json();
  const gateways = async () => (await processes.family(name)).filter((each) => programOf(each) === "envoy");
  const killGateways = async () => {
    const found = await gateways();
    if (found.length === 0) throw new Error(`${name} has no gateway`);
    signalAll(found, "SIGKILL");
    await until(`the gateway of ${name} to end`, 5_000, () => Promise.resolve(!found.some(isAlive)));
  };
  const start = async () => {
    await processes.isthmus(
      name,
      [
        "site",
        ...["--data", dataDir, "--manifests", manifestsDir, "--token-file", tokenFile, "--address", address],
        ...["--ads-port", String(place.adsPort), "--admin-port", String(place.adminPort)],
        ...["--gateway", `${address}:${place.gatewayPort}`, "--loopback-range", place.loopbackRange],
        ...["--envoy", link],
        ...options,
      ],
      { [memberMark]: name },
    );
    await untilAnswers("/healthz", `the agent of ${name}`);
  };
  return {
    name,
    place,
    dataDir,
    manifestsDir,
    tokenFile,
    adminUrl,
    debug,
    workloads: async () => {
      const { workloads = [] } = (await debug("sources")) as { readonly workloads?: readonly WorkloadState[] };
      return workloads;
    },
    start: async () => {
      await mkdir(dataDir, { recursive: true, mode: 0o700 });
      await mkdir(manifestsDir, { recursive: true });
      await linkTo(envoy, link);
      await start();
    },
    ready: async () => {
      await untilAnswers("/readyz", `${name} to take part in the fleet`);
    },
    killGateways,
    stopGateways: async () => {
      await rm(link);
      await killGateways();
    },
    startGateways: async () => {
      await linkTo(envoy, link);
      await until(`the gateway of ${name}`, GATEWAY_MS, () => accepts(address, place.gatewayPort));
    },
    killAgents: () => processes.killAlone(name),
    agentsBack: async () => {
      await start();
      await untilAnswers("/readyz", `the agent of ${name} to be ready again`);
    },
    complaints: async (namespace, kind, object) => {
      const problems = (await debug("problems")) as readonly object[];
      const about = problems.map((each) => JSON.stringify(each)).filter((text) => text.includes(object));
      return about.filter((text) => text.includes(kind) && text.includes(namespace)).join("\n");
    },
    signalAll: (signal) => {
      signalAll(
        processesOfRun(folder).filter(({ environment }) => environment.includes(`${memberMark}=${name}`)),
        signal,
      );
    },
  };
}

async function linkTo(program: string, link: string): Promise<void> {
  await rm(link, { force: true });
  await symlink(program, link);
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
  });
}
