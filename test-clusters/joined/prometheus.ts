// A Prometheus over a fleet of clusters, as people have one (Mimir, Thanos): in each cluster one that scrapes by the shipped rules and
// keeps nothing (agent mode), and one beside the hub that all of them write to. The agents ask that one for TrafficMetrics.
import { mkdir, readFile, writeFile } from "node:fs/promises";
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

/** Scraping starts at once; all of it ends with the run. */
export async function startFleetPrometheus(fleet: Fleet, program: string): Promise<void> {
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
  await Promise.all([...fleet.clusters.values()].map((cluster) => startScraper({ fleet, program, dir }, cluster)));
}

interface Parts {
  readonly fleet: Fleet;
  readonly program: string;
  readonly dir: string;
}

interface ScrapeFile {
  readonly scrape_configs: readonly { readonly kubernetes_sd_configs: readonly object[] }[];
}

/** In the node's own network, where pods are reached. */
async function startScraper({ fleet, program, dir }: Parts, cluster: Cluster): Promise<void> {
  const kubeconfig = join(dir, `${cluster.name}.kubeconfig`);
  await writeFile(kubeconfig, await cluster.kubectl(["config", "view", "--minify", "--flatten", "--raw"]), {
    mode: 0o600,
  });
  const { scrape_configs: jobs } = parse(await readFile(shipped, "utf8")) as ScrapeFile;
  const config = await written(join(dir, `${cluster.name}.yml`), {
    scrape_configs: jobs.map((job) => ({
      ...job,
      ...{ scrape_interval: SCRAPE_INTERVAL, scrape_timeout: SCRAPE_INTERVAL },
      // a pod would have found its API server by itself
      kubernetes_sd_configs: job.kubernetes_sd_configs.map((found) => ({ ...found, kubeconfig_file: kubeconfig })),
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
