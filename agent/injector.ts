// The webhook put together: its small CA, the HTTPS server, the facts of a namespace and the settings of this cluster.
import type { Clock } from "../shared/clock.ts";
import type { Log } from "../shared/log.ts";
import type { Task } from "../shared/lifecycle.ts";
import type { AgentConfig } from "./config.ts";
import type { NamespaceFacts } from "./inject/decide.ts";
import { joinedExclusions, type InjectionSettings } from "./inject/settings.ts";
import type { MeshConfigInput } from "./ir/inputs.ts";
import { standingMeshConfig } from "./ir/mesh-config.ts";
import { ensureWebhookTrust, runWebhookCa, type WebhookCaDeps } from "./inject/webhook-ca.ts";
import { startWebhookServer } from "./inject/webhook-server.ts";
import { isApiError } from "./kube/api-error.ts";
import type { Kube } from "./kube/kube.ts";
import type { Membership } from "./kube/membership-config-map.ts";
import { parseNamespace } from "./kube/parse/namespace.ts";
import { namespaces } from "./kube/resources.ts";
import { secretStore } from "./kube/secret-store.ts";
import { ensureTrust } from "./kube/trust-config-maps.ts";
import type { AgentMetrics } from "./metrics.ts";

export interface InjectorDeps {
  readonly kube: Kube;
  readonly config: AgentConfig;
  readonly membership: Membership;
  readonly metrics: AgentMetrics;
  readonly clock: Clock;
  readonly log: Log;
  readonly rootsPem: () => string;
  readonly onBundle: (caBundlePem: string) => void;
}

function settingsOf({ config, membership }: InjectorDeps): InjectionSettings {
  return {
    ...membership,
    agent: { host: `isthmus-agent.${config.namespace}.svc`, port: config.adsPort },
    proxyImage: config.envoyImage,
    initImage: config.initImage,
    imagePullPolicy: config.imagePullPolicy,
    ...config.sidecar,
  };
}

/** A pod gets what OSM's MeshConfig excludes at the time when it is made, and keeps it. */
export function withMeshConfig(
  settings: InjectionSettings,
  meshConfigs: readonly MeshConfigInput[] | undefined,
  systemNamespace: string,
): InjectionSettings {
  const said = standingMeshConfig({ ...(meshConfigs === undefined ? {} : { meshConfigs }), systemNamespace });
  if (said === undefined) return settings;
  return { ...settings, exclusions: joinedExclusions(settings.exclusions, said.exclusions) };
}

/** As much of Kube as says what a namespace is. */
export interface NamespaceSource {
  readonly stores: { readonly namespaces: Pick<Kube["stores"]["namespaces"], "get"> };
  readonly client: Pick<Kube["client"], "get">;
}

/** The watch's record, or what the API server says when the watch has not shown the label yet: a first pod must not slip by. */
export async function namespaceFacts(
  kube: NamespaceSource,
  name: string,
  signal: AbortSignal,
): Promise<NamespaceFacts | undefined> {
  const known = kube.stores.namespaces.get("", name)?.record;
  if (known?.meshed === true) return known;
  try {
    const read = parseNamespace(await kube.client.get({ resource: namespaces, name }, signal));
    return read.ok ? read.value : undefined;
  } catch (error) {
    if (isApiError(error, "not-found")) return undefined;
    throw error;
  }
}

/** Serves as soon as it returns; the task renews the certificate and closes at the end. */
export async function startInjector(deps: InjectorDeps): Promise<Task> {
  const { kube, config, metrics, clock, log } = deps;
  const at = { namespace: config.namespace, name: "isthmus-webhook-ca" };
  const ca: WebhookCaDeps & { readonly clock: Clock } = {
    store: secretStore(kube.client, at),
    clock,
    serverName: `isthmus-agent.${config.namespace}.svc`,
  };
  const first = await ensureWebhookTrust(ca);
  deps.onBundle(first.caBundlePem);
  const settings = settingsOf(deps);
  const current = () => withMeshConfig(settings, kube.inputs().meshConfigs, config.namespace);
  const server = await startWebhookServer({
    port: config.webhookPort,
    certificate: first.certificate,
    settings: current,
    namespace: async (name, signal) => {
      const facts = await namespaceFacts(kube, name, signal);
      if (facts?.meshed === true) await ensureTrust(kube, name, deps.rootsPem());
      return facts;
    },
    observe: (outcome) => metrics.admissions.inc({ outcome }),
    log,
  });
  const run = async (signal: AbortSignal) => {
    try {
      await renewed(signal);
    } finally {
      await server.close();
    }
  };
  /** An API server that is away must not end the agent: what is served stays good for days. */
  const renewed = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        await runWebhookCa(
          ca,
          ({ caBundlePem, certificate }) => {
            deps.onBundle(caBundlePem);
            server.renew(certificate);
          },
          signal,
        );
      } catch (error) {
        if (!isApiError(error)) throw error;
        log.warn("the webhook's certificate could not be looked after; trying again", { reason: error.message });
        await clock.sleep(30_000, signal);
      }
    }
  };
  return { name: "injector", run };
}
