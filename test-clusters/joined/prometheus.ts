// A Prometheus over a fleet of clusters, as people have one (Mimir, Thanos): in each cluster one that scrapes by the shipped rules and
// keeps nothing (agent mode), and one beside the hub that all of them write to. The agents ask that one for TrafficMetrics.
// Debian builds its Prometheus without Kubernetes discovery: pods are listed here and given as files, with the labels that it would have.
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import type { Cluster } from "../cluster.ts";
import type { Fleet } from "../fleet.ts";
import { until } from "../stage/until.ts";

const PORT = 9090;
/** The shipped rules say 15 s; a test would wait for two of them. What is scraped, and how it is named, is as shipped. */
const SCRAPE_INTERVAL = "2s";
const shipped = fileURLToPath(new URL("../../deploy/prometheus/scrape.yaml", import.meta.url));

/** Where it is, from everywhere in the fleet; nobody answers before it is started. */
export function fleetPrometheusUrl({ hub }: Fleet): string {
  return `http://${hub.address}:${PORT}`;
}

export interface FleetPrometheus {
  readonly url: string;
  /** Looks for the pods that there are now; they are scraped from now on. */
  discover(): Promise<void>;
}

/** All of it ends with the run. */
export async function startFleetPrometheus(fleet: Fleet, program: string): Promise<FleetPrometheus> {
  const dir = join(dirname(fleet.hub.dataDir), "prometheus");
  await mkdir(dir, { recursive: true });
  const listen = `--web.listen-address=${fleet.hub.address}:${PORT}`;
  const config = await written(join(dir, "fleet.yml"), {});
  const flags = ["--web.enable-remote-write-receiver", `--storage.tsdb.path=${join(dir, "fleet")}`];
  await fleet.spawnIn(fleet.hub.netns, [program, config, listen, ...flags], { name: "prometheus" });
  await until("the fleet's Prometheus to be ready", 60_000, async () => {
    const ready = await fetch(`${fleetPrometheusUrl(fleet)}/-/ready`).catch(() => undefined);
    return ready?.ok === true;
  });
  const clusters = [...fleet.clusters.values()];
  const discover = async () => {
    await Promise.all(clusters.map((cluster) => writeTargets(dir, cluster)));
  };
  await discover();
  await Promise.all(clusters.map((cluster) => startScraper({ fleet, program, dir }, cluster)));
  return { url: fleetPrometheusUrl(fleet), discover };
}

function targetsFile(dir: string, { name }: Cluster): string {
  return join(dir, `${name}.targets.json`);
}

interface Container {
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
}

interface Pod {
  readonly metadata: { readonly labels?: Readonly<Record<string, string>> };
  readonly spec: { readonly containers: readonly Container[]; readonly initContainers?: readonly Container[] };
  readonly status: { readonly podIP?: string };
}

/** One target for each port that a container declares. https://prometheus.io/docs/prometheus/2.42/configuration/configuration/#pod */
function targetsOf({ metadata, spec, status }: Pod): readonly object[] {
  const { podIP } = status;
  if (podIP === undefined) return [];
  const app = metadata.labels?.["app.kubernetes.io/name"] ?? "";
  return [...(spec.initContainers ?? []), ...spec.containers].flatMap(({ ports = [] }) =>
    ports.map(({ name = "", containerPort }) => ({
      targets: [`${podIP}:${containerPort}`],
      labels: {
        __meta_kubernetes_pod_container_port_name: name,
        __meta_kubernetes_pod_label_app_kubernetes_io_name: app,
      },
    })),
  );
}

async function writeTargets(dir: string, cluster: Cluster): Promise<void> {
  const { items } = JSON.parse(await cluster.kubectl(["get", "pods", "-A", "-o", "json"])) as { items: readonly Pod[] };
  const file = targetsFile(dir, cluster);
  // at once: Prometheus reads it as soon as it changes
  await writeFile(`${file}.tmp`, JSON.stringify(items.flatMap(targetsOf)));
  await rename(`${file}.tmp`, file);
}

interface Parts {
  readonly fleet: Fleet;
  readonly program: string;
  readonly dir: string;
}

interface ScrapeFile {
  readonly scrape_configs: readonly object[];
}

/** In the node's own network, where pods are reached. */
async function startScraper({ fleet, program, dir }: Parts, cluster: Cluster): Promise<void> {
  const { scrape_configs: jobs } = parse(await readFile(shipped, "utf8")) as ScrapeFile;
  const config = await written(join(dir, `${cluster.name}.yml`), {
    scrape_configs: jobs.map((job) => ({
      ...Object.fromEntries(Object.entries(job).filter(([key]) => key !== "kubernetes_sd_configs")),
      ...{ scrape_interval: SCRAPE_INTERVAL, scrape_timeout: SCRAPE_INTERVAL },
      file_sd_configs: [{ files: [targetsFile(dir, cluster)] }],
    })),
    remote_write: [{ url: `${fleetPrometheusUrl(fleet)}/api/v1/write`, queue_config: { batch_send_deadline: "1s" } }],
  });
  const storage = ["--enable-feature=agent", `--storage.agent.path=${join(dir, cluster.name)}`];
  const argv = [program, config, `--web.listen-address=127.0.0.1:${PORT}`, ...storage];
  await fleet.spawnIn(cluster.netns, argv, { name: `prometheus-${cluster.name}` });
}

/** The flag that names the file. */
async function written(path: string, config: object): Promise<string> {
  await writeFile(path, stringify(config));
  return `--config.file=${path}`;
}
