// metrics.smi-spec.io put together: the serving certificate that the webhook has too, the aggregator's certificate, objects of the cluster
// and a Prometheus. Runs where the chart names a Prometheus. Holds no rule of its own.
import type { Clock } from "../shared/clock.ts";
import type { Task } from "../shared/lifecycle.ts";
import type { Log } from "../shared/log.ts";
import type { AgentConfig } from "./config.ts";
import { ensureWebhookTrust, type WebhookCaDeps, type WebhookTrust } from "./inject/webhook-ca.ts";
import { ApiError, isApiError } from "./kube/api-error.ts";
import { trustInApiService } from "./kube/api-service.ts";
import type { Kube } from "./kube/kube.ts";
import { listNames, listPods, listSplits } from "./kube/measured-objects.ts";
import { configMaps } from "./kube/resources.ts";
import { secretStore } from "./kube/secret-store.ts";
import type { Membership } from "./kube/membership-config-map.ts";
import { answer, ObjectsRefused, type AnswerDeps } from "./traffic-metrics/answer.ts";
import { parseFrontProxy, type FrontProxy } from "./traffic-metrics/front-proxy.ts";
import { connectPrometheus } from "./traffic-metrics/prometheus.ts";
import { startTrafficMetricsServer, type ServingIdentity } from "./traffic-metrics/server.ts";

export interface TrafficMetricsApiDeps {
  readonly kube: Pick<Kube, "client">;
  readonly config: Pick<AgentConfig, "namespace" | "prometheusUrl" | "apiPort" | "podLabel">;
  readonly membership: Pick<Membership, "cluster">;
  readonly clock: Clock;
  readonly log: Log;
}

/** Certificates change over days; an APIService that was installed anew waits no longer than this for its caBundle. */
const LOOK_MS = 60_000;
const authentication = { resource: configMaps, namespace: "kube-system", name: "extension-apiserver-authentication" };

async function readFrontProxy(
  { kube, log }: TrafficMetricsApiDeps,
  signal: AbortSignal,
): Promise<FrontProxy | undefined> {
  const parsed = parseFrontProxy(await kube.client.get(authentication, signal));
  if (parsed.ok) return parsed.value;
  log.error("TrafficMetrics are not served", { reason: parsed.error[0]?.message ?? "", code: "ISTHMUS_AGGREGATION" });
  return undefined;
}

function refusal(error: unknown): unknown {
  if (!isApiError(error)) return error;
  const status = error.failure === "invalid" ? 400 : error.failure === "forbidden" ? 403 : 503;
  return new ObjectsRefused(status, error.message, error);
}

function answerDeps({ kube, config, membership }: TrafficMetricsApiDeps): AnswerDeps {
  const { client } = kube;
  const told = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw refusal(error);
    }
  };
  return {
    prometheus: connectPrometheus(config.prometheusUrl),
    cluster: membership.cluster,
    objects: ({ group, version, plural, kind }, selection, signal) =>
      told(listNames(client, { group, version, plural, kind }, selection, signal)),
    pods: (selection, signal) => told(listPods(client, selection, signal)),
    podLabel: config.podLabel,
    splits: (selection, signal) => told(listSplits(client, selection, signal)),
    now: () => new Date(),
  };
}

function servingOf({ certificate }: WebhookTrust, frontProxy: FrontProxy): ServingIdentity {
  return { ...certificate, frontProxy };
}

export function trafficMetricsApi(deps: TrafficMetricsApiDeps): Task {
  const { kube, config, clock, log } = deps;
  const ca: WebhookCaDeps = {
    store: secretStore(kube.client, { namespace: config.namespace, name: "isthmus-webhook-ca" }),
    clock,
    serverName: `isthmus-agent.${config.namespace}.svc`,
  };
  const asked = answerDeps(deps);
  let server: Awaited<ReturnType<typeof startTrafficMetricsServer>> | undefined;
  let served = "";
  /** Level-triggered: whatever changed since the last look is put right by this one. */
  const look = async (signal: AbortSignal): Promise<void> => {
    const trust = await ensureWebhookTrust(ca);
    const frontProxy = await readFrontProxy(deps, signal);
    if (frontProxy === undefined) return;
    const identity = servingOf(trust, frontProxy);
    const text = JSON.stringify(identity);
    if (server === undefined) {
      const port = config.apiPort;
      server = await startTrafficMetricsServer({
        port,
        identity,
        answer: (url, until) => answer(url, asked, until),
        log,
      });
    } else if (text !== served) server.renew(identity);
    served = text;
    await trustInApiService(kube.client, trust.caBundlePem, signal);
  };
  const run = async (signal: AbortSignal): Promise<void> => {
    try {
      while (!signal.aborted) {
        await look(signal).catch((error: unknown) => {
          if (!(error instanceof ApiError)) throw error;
          log.warn("TrafficMetrics could not be looked after; trying again", { reason: error.message });
        });
        await clock.sleep(LOOK_MS, signal);
      }
    } finally {
      await server?.close();
    }
  };
  return { name: "traffic metrics", run };
}
