// A fleet with the product on it: clusters, the hub, every cluster joined. The demo runs the steps one by one and tells
// about them; the end-to-end suites and benches take them all at once.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { buildImages, type BuiltImage } from "../../deploy/images.ts";
import { downFleet, openFleet, upFleet, type Fleet } from "../fleet.ts";
import { ensurePackages } from "../machine/packages.ts";
import { silentProgress, type Progress } from "../../shared/progress.ts";
import { initHub, startHub, type HubProcess } from "./hub-process.ts";
import { fleetPrometheusUrl } from "./prometheus.ts";
import type { Product } from "../stage/product.ts";
import { openProduct } from "./product.ts";

export const clusterNames = ["east", "west", "north"] as const;

/** What another process needs to take part in the fleet: written to a file, read by the scenarios. */
export interface FleetFile {
  readonly runId: string;
  readonly images: readonly BuiltImage[];
}

/** More words of `isthmus hub` and `isthmus join`. */
export interface ClusterSettings {
  readonly hub: readonly string[];
  readonly join: readonly string[];
}

export interface ClustersUp {
  readonly settings?: ClusterSettings;
  readonly fleet: Fleet;
  readonly product: Product;
  readonly images: readonly BuiltImage[];
}

export interface UpOptions {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly clusters?: readonly string[];
  readonly runId?: string;
  /** Agents serve TrafficMetrics from the fleet's Prometheus (prometheus.ts), which may be started later. */
  readonly trafficMetrics?: boolean;
}

/** A name that no other run on this machine has: runs side by side, and leftovers of a killed one, never meet. */
export function newRunId(purpose: string): string {
  return `${purpose}-${randomBytes(2).toString("hex")}`;
}

export async function upClusters(options: UpOptions): Promise<ClustersUp> {
  const { progress, signal, clusters = clusterNames, runId = newRunId("e2e") } = options;
  const yes = process.env["CI"] === "true";
  await ensurePackages(["images", "clusters", "hub"], { yes, progress });
  const images = await progress.step("images", () => buildImages((line) => progress.say(`  ${line}`)));
  const imageArchives = images.map(({ archive }) => archive);
  const fleet = await upFleet({ runId, clusters, imageArchives, signal, progress, yes });
  return { fleet, images, product: await openProduct(fleet, progress) };
}

export async function upHub({ fleet, product, settings }: ClustersUp): Promise<HubProcess> {
  await initHub(fleet, product);
  return startHub(fleet, settings?.hub);
}

/** A token from the hub, and `isthmus join` with it: returns once the cluster takes part. */
export async function joinCluster(up: ClustersUp, cluster: string): Promise<void> {
  await joinWith(up, cluster, await createToken(up, cluster));
}

/** Returns the token's file. */
export async function createToken({ fleet, product }: ClustersUp, cluster: string): Promise<string> {
  const tokenFile = join(fleet.hub.dataDir, `${cluster}.token`);
  await product.isthmus(["token", "create", cluster, "--data", fleet.hub.dataDir, "--out", tokenFile]);
  return tokenFile;
}

export async function joinWith(
  { product, images, settings }: ClustersUp,
  cluster: string,
  tokenFile: string,
): Promise<void> {
  const words = ["join", "--token-file", tokenFile, "--context", cluster];
  await product.isthmus([...words, ...imageValues(images), ...(settings?.join ?? [])]);
}

function imageValues(images: readonly BuiltImage[]): readonly string[] {
  return images.flatMap(({ target, name }) => ["--set", `images.${target}.reference=${name}`]);
}

export interface JoinedFleet extends ClustersUp {
  readonly file: FleetFile;
  down(): Promise<void>;
}

function withTrafficMetrics(up: ClustersUp, wanted: boolean): ClustersUp {
  if (!wanted) return up;
  const { hub = [], join = [] } = up.settings ?? {};
  const metrics = ["--set", `metrics.prometheusUrl=${fleetPrometheusUrl(up.fleet)}`];
  return { ...up, settings: { hub, join: [...join, ...metrics] } };
}

/** Clusters, hub and joins; whatever fails, nothing is left behind. */
export async function bringUpJoinedFleet(options: UpOptions): Promise<JoinedFleet> {
  const { progress } = options;
  const up = withTrafficMetrics(await upClusters(options), options.trafficMetrics === true);
  const { runId } = up.fleet;
  try {
    await progress.step("hub", () => upHub(up));
    await Promise.all(
      [...up.fleet.clusters.keys()].map((cluster) => progress.step(`join ${cluster}`, () => joinCluster(up, cluster))),
    );
  } catch (error) {
    await progress.step("taking the fleet down", () => downFleet(runId));
    throw error;
  }
  return {
    ...up,
    file: { runId, images: up.images },
    down: () => progress.step("taking the fleet down", () => downFleet(runId)),
  };
}

/** The fleet that another process brought up. */
export async function openJoinedFleet({ runId, images }: FleetFile): Promise<ClustersUp> {
  const fleet = await openFleet(runId, silentProgress);
  return { fleet, images, product: await openProduct(fleet, silentProgress) };
}

export function imageNamed(images: readonly BuiltImage[], target: BuiltImage["target"]): string {
  const image = images.find((candidate) => candidate.target === target);
  if (image === undefined) throw new Error(`no image was built for ${target}`);
  return image.name;
}
