// What one replica does for all: writes what the cluster should show of the fleet, and keeps the last good registry. Each
// writer is told the whole of what should be on every change, by every replica; only the leader's tasks act on it.
import type { RemoteState } from "./hub/remote-registry.ts";
import { exportConditions } from "./ir/export-conditions.ts";
import { selectImports } from "./ir/imports.ts";
import { createExportWriter } from "./kube/export-conditions.ts";
import type { Kube } from "./kube/kube.ts";
import { createMembershipWriter, type Membership } from "./kube/membership-config-map.ts";
import { createEventWriter } from "./kube/object-events.ts";
import type { RegistryCopy } from "./kube/registry-copy.ts";
import { createImportsWriter } from "./kube/service-imports.ts";
import { createTrustWriter } from "./kube/trust-config-maps.ts";
import { createWebhookWriter } from "./kube/webhook-bundle.ts";
import { createWriter } from "./kube/writer.ts";
import type { Problem } from "../shared/result.ts";
import type { Task } from "../shared/lifecycle.ts";
import type { Settled } from "./mesh.ts";

/** The copy is for a restart with the hub away: a second behind is soon enough, and etcd is spared a write per pod start. */
const COPY_SPACING_MS = 1_000;

/** What the hub is known to hold of ours, and whether that is its present word. */
export interface HubView {
  readonly connected: boolean;
  readonly acknowledged: ReadonlySet<string>;
}

export interface Leader {
  readonly tasks: readonly Task[];
  /** After every push. */
  settled(settled: Settled, hub: HubView): void;
  /** From the next push on. */
  webhookBundle(pem: string): void;
  remote(state: RemoteState): void;
  problems(): readonly Problem[];
}

export interface LeaderDeps {
  readonly kube: Kube;
  readonly copy: RegistryCopy;
  readonly membership: Membership;
  readonly rootsPem: () => string;
}

export function createLeader({ kube, copy, membership, rootsPem }: LeaderDeps): Leader {
  const imports = createImportsWriter(kube);
  const exports = createExportWriter(kube);
  const events = createEventWriter(kube);
  const trust = createTrustWriter(kube);
  const webhook = createWebhookWriter(kube);
  const joined = createMembershipWriter(kube);
  const registry = createWriter<RemoteState>({
    ...kube,
    name: "last good registry",
    write: async (state, signal) => {
      await copy.save(Buffer.from(JSON.stringify(state)));
      await kube.clock.sleep(COPY_SPACING_MS, signal);
    },
  });
  let webhookBundle: string | undefined;
  return {
    tasks: [imports, exports, events, trust, webhook, joined, registry].map((writer) => writer.task),
    settled: ({ problems, inputs }, { connected, acknowledged }) => {
      imports.want({ imports: selectImports(inputs), hubConnected: connected });
      exports.want(exportConditions(inputs, acknowledged));
      events.want([...problems, ...kube.problems()]);
      // what these write depends on namespaces and on what others did to our objects, so they look after every change
      trust.want(rootsPem());
      joined.want(membership);
      if (webhookBundle !== undefined) webhook.want(webhookBundle);
    },
    webhookBundle: (pem) => {
      webhookBundle = pem;
      webhook.want(pem);
    },
    remote: (state) => registry.want(state),
    problems: () => imports.problems(),
  };
}

/** What an earlier process kept; undefined when it is not there or not readable (then the hub's list is waited for). */
export async function restoredRegistry(copy: RegistryCopy): Promise<RemoteState | undefined> {
  const content = await copy.load();
  if (content === undefined) return undefined;
  return JSON.parse(Buffer.from(content).toString("utf8")) as RemoteState;
}
