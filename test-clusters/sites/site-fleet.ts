// A fleet of sites on this machine: a hub with its Redis and members without Kubernetes, all processes of `isthmus` as a
// user would start them. No root, no Docker. Used by the demo, the end-to-end table and benches.
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { ensureEnvoy } from "../../shared/programs/envoy.ts";
import { demoRedis } from "../../shared/programs/redis.ts";
import { silentProgress, type Progress } from "../../shared/progress.ts";
import { fleetDomain } from "../stage/fleet-domain.ts";
import type { FleetStage, HubUnderTest } from "../stage/fleet-under-test.ts";
import { productIn, type Product } from "../stage/product.ts";
import { until } from "../stage/until.ts";
import { compileAhead, compiledFolder } from "./compiled-code.ts";
import { siteMember, type SiteMember } from "./site-member.ts";
import { siteProcesses, type SiteProcesses } from "./site-processes.ts";
import { openSiteScene } from "./site-scene.ts";
import { joinRun, openRun, type SiteRun } from "./site-run.ts";

/** What every process of a site needs from outside. */
export function environment(programFolders: readonly string[]): Readonly<Record<string, string>> {
  return {
    PATH: [dirname(process.execPath), ...programFolders, process.env["PATH"] ?? ""].join(":"),
    HOME: process.env["HOME"] ?? homedir(),
    // what Node compiles once is shared by all programs and runs: they start in half the time and hold less
    NODE_COMPILE_CACHE: compiledFolder(),
  };
}

const HUB_MS = 30_000;
const HUB = "hub";
/** Second byte of the applications' addresses, plus the slot. */
const FIRST_APPLICATION = 32;

/** What the hub and the sites are told beside where they are. */
export interface SiteFleetSettings {
  readonly hub: readonly string[];
  readonly site: readonly string[];
}

const asShipped: SiteFleetSettings = { hub: [], site: [] };

export interface SiteFleetFile {
  readonly kind: "sites";
  readonly folder: string;
}

export interface SiteFleet extends FleetStage {
  readonly kind: "sites";
  readonly run: SiteRun;
  readonly processes: SiteProcesses;
  readonly file: SiteFleetFile;
  site(name: string): SiteMember;
  /** `isthmus init`, then the hub. */
  startHub(): Promise<void>;
  /** A token from the hub for the site that waits for it. */
  join(name: string): Promise<void>;
}

/** The programs, the folders and the places; nothing runs yet. */
export async function prepareSites(
  names: readonly string[],
  progress: Progress,
  settings = asShipped,
): Promise<SiteFleet> {
  const [programs] = await Promise.all([findPrograms(progress), compileAhead(environment([]))]);
  const run = await openRun(names, (line) => progress.say(line));
  return siteFleet(run, programs, settings);
}

/** Hub, sites and joins; whatever fails, nothing is left behind. */
export async function bringUpSites(
  names: readonly string[],
  progress: Progress,
  settings?: SiteFleetSettings,
): Promise<SiteFleet> {
  const fleet = await prepareSites(names, progress, settings);
  try {
    await progress.step("hub and sites", () =>
      Promise.all([fleet.startHub(), ...names.map((name) => fleet.site(name).start())]),
    );
    await Promise.all(names.map((name) => progress.step(`join ${name}`, () => fleet.join(name))));
    return fleet;
  } catch (error) {
    await fleet.run.down();
    throw error;
  }
}

/** The fleet that another process has brought up. */
export async function openSiteFleet({ folder }: SiteFleetFile): Promise<SiteFleet> {
  return siteFleet(await joinRun(folder), await findPrograms(silentProgress));
}

interface Programs {
  readonly envoy: string;
  readonly redis: string;
}

async function findPrograms(progress: Progress): Promise<Programs> {
  const [envoy, redis] = await Promise.all([ensureEnvoy(progress), demoRedis(progress)]);
  return { envoy, redis: redis.path };
}

function siteFleet(run: SiteRun, { envoy, redis }: Programs, settings = asShipped): SiteFleet {
  const { folder, places } = run;
  const processes = siteProcesses(run, { env: environment([dirname(redis)]) });
  const product = productIn(processes.env);
  const members = new Map(
    places.sites.map(
      (place) => [place.name, siteMember({ folder, place, processes, envoy, options: settings.site })] as const,
    ),
  );
  const site = (name: string) => {
    const found = members.get(name);
    if (found === undefined) throw new Error(`the fleet has no site ${name}`);
    return found;
  };
  const dataDir = join(folder, HUB);
  const hub = siteHub({ run, dataDir, processes, options: settings.hub });
  const slot = Number(places.hubAddress.split(".")[2]) - 1;
  return {
    kind: "sites",
    run,
    processes,
    file: { kind: "sites", folder },
    members: [...members.keys()],
    product,
    hub,
    site,
    member: site,
    startHub: async () => {
      const advertise = `${places.hubAddress}:${places.hubPort}`;
      await product.isthmus(["init", fleetDomain, "--data", dataDir, "--advertise", advertise]);
      await hub.start();
    },
    join: (name) => joinSite(site(name), product, dataDir),
    openScene: (namespace) =>
      Promise.resolve(
        openSiteScene({ namespace, members, processes, envoy, applications: `127.${FIRST_APPLICATION + slot}.` }),
      ),
    blackhole: (_a, b) => Promise.resolve(site(b).signalAll("SIGSTOP")),
    heal: (_a, b) => Promise.resolve(site(b).signalAll("SIGCONT")),
  };
}

async function joinSite(site: SiteMember, product: Product, hubData: string): Promise<void> {
  await product.isthmus(["token", "create", site.name, "--data", hubData, "--out", site.tokenFile]);
  await site.ready();
}

interface HubParts {
  readonly run: SiteRun;
  readonly dataDir: string;
  readonly processes: SiteProcesses;
  readonly options: readonly string[];
}

function siteHub({ run, dataDir, processes, options }: HubParts): HubUnderTest {
  const { hubAddress, hubPort, hubHttpPort } = run.places;
  const at = (port: number) => `${hubAddress}:${port}`;
  const readyUrl = `http://${at(hubHttpPort)}/readyz`;
  const start = async () => {
    const listen = ["--listen", at(hubPort), "--http", at(hubHttpPort), "--allow-loopback"];
    await processes.isthmus(HUB, ["hub", "--data", dataDir, ...listen, ...options]);
    await until("the hub to be ready", HUB_MS, async () => {
      if (!(await processes.isRunning(HUB))) throw new Error(`the hub ended: ${await processes.lastWords(HUB)}`);
      return fetch(readyUrl).then(
        (response) => response.ok,
        () => false,
      );
    });
  };
  return { dataDir, readyUrl, kill: () => processes.killAlone(HUB), start };
}
