// Kubernetes as a member's platform: watches, TokenReview, the Lease, the injector and what the leader writes. Put together
// here from agent/kube and agent/inject; decides nothing.
import type { Task } from "../shared/lifecycle.ts";
import type { AgentConfig } from "./config.ts";
import { startInjector } from "./injector.ts";
import { watchGatewayAddresses } from "./kube/gateway-address.ts";
import type { Kube } from "./kube/kube.ts";
import { runLeaseElection } from "./kube/lease-election.ts";
import { openRegistryCopy } from "./kube/registry-copy.ts";
import { createTokenReview } from "./kube/token-review.ts";
import { createLeader } from "./leader.ts";
import type { AgentMetrics } from "./metrics.ts";
import type { Membership, Platform, Service } from "./platform.ts";
import { trafficMetricsApi } from "./traffic-metrics-api.ts";

export interface KubernetesDeps {
  readonly kube: Kube;
  readonly config: AgentConfig;
  readonly metrics: AgentMetrics;
}

export function kubernetesPlatform(deps: KubernetesDeps): Platform {
  const { kube, config } = deps;
  const { client, clock } = kube;
  const listeners = new Set<() => void>();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  kube.onChange(changed);
  const gateways = watchGatewayAddresses(kube, { configured: config.gatewayAddresses, onChange: changed });
  const registryCopy = openRegistryCopy({ client, namespace: config.namespace });
  const names = { namespace: config.namespace, name: "isthmus-agent", identity: config.podName };
  return {
    inputs: kube.inputs,
    synced: kube.synced,
    awaited: "the first complete lists of the cluster's objects",
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    problems: kube.problems,
    located: (problem) => problem,
    states: kube.states,
    gateways: () => gateways.current(),
    allowLoopback: false,
    storesCopies: true,
    registryCopy,
    authenticate: createTokenReview({ client, clock }),
    elect: (lead, signal) => runLeaseElection({ ...names, lead }, kube, signal),
    serve: (membership) => serve(deps, { membership, registryCopy, gateways: gateways.task }),
  };
}

interface Parts {
  readonly membership: Membership;
  readonly registryCopy: Platform["registryCopy"];
  readonly gateways: Task;
}

function serve(deps: KubernetesDeps, { membership, registryCopy, gateways }: Parts): Service {
  const leader = createLeader({ ...deps, copy: registryCopy, membership });
  const start = async () => {
    const { kube, config } = deps;
    const { cluster, fleetDomain, rootsPem } = membership;
    const onBundle = (pem: string) => leader.webhookBundle(pem);
    const injector = await startInjector({
      ...deps,
      ...kube,
      kube,
      membership: { cluster, fleetDomain },
      rootsPem,
      onBundle,
    });
    const metricsApi =
      config.prometheusUrl === "" ? [] : [trafficMetricsApi({ ...deps, ...kube, kube, membership: { cluster } })];
    return [gateways, injector, ...metricsApi];
  };
  return { leader, start };
}
