// What one replica in Kubernetes does for all: writes what the cluster should show of the fleet, and keeps the last good registry. Each
// writer is told the whole of what should be on every change, by every replica; only the leader's tasks act on it.
import { registryContent, type RegistryCopy } from "./hub/registry-copy.ts";
import type { RemoteState } from "./hub/remote-registry.ts";
import { exportConditions } from "./ir/export-conditions.ts";
import { selectImports } from "./ir/imports.ts";
import { createExportWriter } from "./kube/export-conditions.ts";
import type { Kube } from "./kube/kube.ts";
import { createConversionWriter } from "./kube/conversion-bundle.ts";
import { createPolicyCopiesWriter } from "./kube/policy-copies.ts";
import { createPolicyConditionWriter } from "./kube/policy-conditions.ts";
import { createMembershipWriter } from "./kube/membership-config-map.ts";
import { createEventWriter } from "./kube/object-events.ts";
import { createImportsWriter } from "./kube/service-imports.ts";
import { createTrustWriter } from "./kube/trust-config-maps.ts";
import { createWebhookWriter } from "./kube/webhook-bundle.ts";
import { createWriter } from "./kube/writer.ts";
import type { Leader, Membership } from "./platform.ts";

/** The copy is for a restart with the hub away: a second behind is soon enough, and etcd is spared a write per pod start. */
const COPY_SPACING_MS = 1_000;

export interface KubernetesLeader extends Leader {
  /** From the next push on. */
  webhookBundle(pem: string): void;
}

export interface LeaderDeps {
  readonly kube: Kube;
  readonly copy: RegistryCopy;
  readonly membership: Membership;
}

export function createLeader({ kube, copy, membership }: LeaderDeps): KubernetesLeader {
  const { rootsPem, cluster, fleetDomain } = membership;
  const imports = createImportsWriter(kube);
  const exports = createExportWriter(kube);
  const events = createEventWriter(kube);
  const policies = createPolicyConditionWriter(kube);
  const copies = createPolicyCopiesWriter(kube);
  const trust = createTrustWriter(kube);
  const webhook = createWebhookWriter(kube);
  const conversion = createConversionWriter(kube);
  const joined = createMembershipWriter(kube);
  const registry = createWriter<RemoteState>({
    ...kube,
    name: "last good registry",
    write: async (state, signal) => {
      await copy.save(registryContent(state));
      await kube.clock.sleep(COPY_SPACING_MS, signal);
    },
  });
  let webhookBundle: string | undefined;
  return {
    tasks: [imports, exports, events, policies, copies, trust, webhook, conversion, joined, registry].map(
      (writer) => writer.task,
    ),
    settled: ({ problems, inputs }, { connected, acknowledged, refused }) => {
      imports.want({ imports: selectImports(inputs), hubConnected: connected });
      exports.want(exportConditions(inputs, { acknowledged, refused }));
      const all = [...problems, ...refused, ...kube.problems()];
      events.want(all);
      policies.want(all);
      copies.want(inputs);
      // what these write depends on namespaces and on what others did to our objects, so they look after every change
      trust.want(rootsPem());
      joined.want({ cluster, fleetDomain });
      if (webhookBundle !== undefined) webhook.want(webhookBundle);
    },
    webhookBundle: (pem) => {
      webhookBundle = pem;
      webhook.want(pem);
      conversion.want(pem);
    },
    remote: (state) => registry.want(state),
    problems: () => [...imports.problems(), ...copies.problems()],
  };
}
