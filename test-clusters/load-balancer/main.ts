// The load balancer controller of a run as a process: one controller per cluster, until it is killed with the run.
// fleet.ts starts it with the path of its configuration.
import { readFileSync } from "node:fs";
import process from "node:process";
import { systemClock } from "../../shared/clock.ts";
import { runTasks } from "../../shared/lifecycle.ts";
import { jsonLog } from "../../shared/log.ts";
import { kubeClient, type KubeAccess } from "../kube-client.ts";
import { runLoadBalancer } from "./controller.ts";

export interface LoadBalancerConfig {
  readonly clusters: readonly { readonly name: string; readonly pool: string; readonly access: KubeAccess }[];
}

const [file = ""] = process.argv.slice(2);
const config = JSON.parse(readFileSync(file, "utf8")) as LoadBalancerConfig;
const log = jsonLog("info", (line) => process.stderr.write(line));
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());

await runTasks(
  stop.signal,
  config.clusters.map(({ name, pool, access }) => ({
    name: `load-balancer-${name}`,
    run: (signal) =>
      runLoadBalancer(
        { client: kubeClient(access), pool, log: log.with({ cluster: name }), clock: systemClock, random: Math.random },
        signal,
      ),
  })),
);
