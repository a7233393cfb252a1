// A real Prometheus for tests: found, started on loopback, stopped. It scrapes what it is given every second.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { stringify } from "yaml";
import { eventually, skipReason, start } from "../../xds/testing/envoy.ts";

/** ISTHMUS_PROMETHEUS, PATH, else what the end-to-end suites have cached. */
export function findPrometheus(): string | undefined {
  const { ISTHMUS_PROMETHEUS: given, PATH: path = "", XDG_CACHE_HOME: cache = join(homedir(), ".cache") } = process.env;
  const arch = process.arch === "x64" ? "amd64" : process.arch;
  const places = [
    ...(given === undefined ? [] : [given]),
    ...path.split(delimiter).map((folder) => join(folder, "prometheus")),
    join(cache, "isthmus", `prometheus-bookworm-${arch}`, "prometheus"),
  ];
  const found = places.find((place) => existsSync(place));
  if (found === undefined) skipReason("no Prometheus: set ISTHMUS_PROMETHEUS to its program, or install it");
  return found;
}

export interface RunningPrometheus {
  readonly url: string;
  stop(): Promise<void>;
}

export interface PrometheusGiven {
  readonly scrape_configs: readonly object[];
  readonly rule_files: readonly string[];
}

export async function startPrometheus(program: string, given: PrometheusGiven): Promise<RunningPrometheus> {
  const dir = mkdtempSync(join(tmpdir(), "isthmus-prometheus-"));
  const config = join(dir, "prometheus.yml");
  writeFileSync(config, stringify({ global: { scrape_interval: "1s", evaluation_interval: "1s" }, ...given }));
  const flags = [`--config.file=${config}`, `--storage.tsdb.path=${dir}/data`, "--web.listen-address=127.0.0.1:0"];
  const running = start([program, ...flags, "--log.format=json"]);
  const stop = async () => {
    await running.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  const url = await eventually("Prometheus listens", async () => {
    const address = /"address":"(127\.0\.0\.1:\d+)"[^\n]*"msg":"Listening on"/.exec(running.log())?.[1];
    if (address === undefined) return undefined;
    const ready = await fetch(`http://${address}/-/ready`).catch(() => undefined);
    return ready?.ok === true ? `http://${address}` : undefined;
  }).catch(async (error: unknown) => {
    await stop();
    throw new Error(running.log(), { cause: error });
  });
  return { url, stop };
}
