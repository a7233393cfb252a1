// Gives Services of type LoadBalancer their addresses in one cluster: list, watch, plan (allocation.ts), patch. Any
// failure of the API server is waited out; events only say that something changed.
import type { Log } from "../../shared/log.ts";
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import { KubeStatusError, MERGE_PATCH, type KubeClient, type KubeList } from "../kube-client.ts";
import { planAddresses, type LoadBalancerService, type StatusChange } from "./allocation.ts";

const SERVICES = "/api/v1/services";
const BACKOFF = { baseMs: 200, maxMs: 5000 };

export interface ControllerDeps {
  readonly client: KubeClient;
  readonly pool: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: () => number;
}

/** Runs until the signal aborts. */
export async function runLoadBalancer(deps: ControllerDeps, signal: AbortSignal): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    const end: unknown = await listAndWatch(deps, signal, () => (failures = 0)).catch((error: unknown) => error);
    if (signal.aborted) return;
    const delayMs = backoffDelayMs(failures, BACKOFF, deps.random());
    const reason = end instanceof Error ? end.message : "the API server closed it";
    deps.log.info("watch of services ended, will list again", { delayMs, reason });
    await deps.clock.sleep(delayMs, signal);
  }
}

async function listAndWatch(deps: ControllerDeps, signal: AbortSignal, healthy: () => void): Promise<void> {
  const list = await deps.client.get<KubeList<LoadBalancerService>>(SERVICES);
  healthy();
  const services = new Map(list.items.map((service) => [keyOf(service), service]));
  const reconcile = serialised(async () => {
    for (const change of planAddresses([...services.values()], deps.pool)) {
      const written = await write(deps, change);
      // known at once, so that a plan made before the watch tells it does not give the address again
      if (written !== undefined && services.has(keyOf(written))) services.set(keyOf(written), written);
    }
  });
  const ended = new AbortController();
  const failed = reconcile(ended);
  const path = `${SERVICES}?resourceVersion=${list.metadata.resourceVersion}&allowWatchBookmarks=true`;
  await deps.client.watch<LoadBalancerService>(
    path,
    ({ type, object }) => {
      if (type === "ERROR") ended.abort(new Error("the API server ended the watch (expired revision)"));
      if (type === "DELETED") services.delete(keyOf(object));
      if (type === "ADDED" || type === "MODIFIED") services.set(keyOf(object), object);
      if (type !== "BOOKMARK" && type !== "ERROR") void reconcile(ended);
    },
    AbortSignal.any([signal, ended.signal]),
  );
  await failed;
}

/** Runs `work` once per burst: a call during a run asks for one more run after it. A failure aborts the watch. */
function serialised(work: () => Promise<void>): (ended: AbortController) => Promise<void> {
  let running: Promise<void> | undefined;
  let again = false;
  return (ended) => {
    again = true;
    running ??= (async () => {
      while (again && !ended.signal.aborted) {
        again = false;
        await work();
      }
    })()
      .catch((error: unknown) => ended.abort(error))
      .finally(() => (running = undefined));
    return running;
  };
}

async function write(deps: ControllerDeps, change: StatusChange): Promise<LoadBalancerService | undefined> {
  const { namespace, name, ip } = change;
  const ingress = ip === undefined ? null : [{ ip }];
  try {
    const written = await deps.client.send<LoadBalancerService>(
      "PATCH",
      `/api/v1/namespaces/${namespace}/services/${name}/status`,
      { status: { loadBalancer: { ingress } } },
      MERGE_PATCH,
    );
    deps.log.info(ip === undefined ? "address released" : "address given", { namespace, name, ip });
    return written;
  } catch (error) {
    if (error instanceof KubeStatusError && error.status === 404) return undefined; // deleted meanwhile
    throw error;
  }
}

function keyOf(service: LoadBalancerService): string {
  return `${service.metadata.namespace}/${service.metadata.name}`;
}
