// The cluster's own control plane put together: push loop, credentials of proxies, ADS server. Made by agent.ts, which
// tells it of changes. Holds no rule of its own: each stage is a pure function elsewhere, this says what feeds what.
import type { Clock } from "../shared/clock.ts";
import type { Log } from "../shared/log.ts";
import type { Problem, Result } from "../shared/result.ts";
import { encodeResource } from "../shared/wire.ts";
import { createAdsServer, type AdsServer, type AdsServerDeps, type StandingRefusal } from "./ads/server.ts";
import type { AdsIdentity } from "./ads/peer.ts";
import type { AckEvent, AdsTaps } from "./ads/stream.ts";
import { buildIr } from "./ir/build.ts";
import type { MeshInputs } from "./ir/inputs.ts";
import type { MeshIr } from "./ir/types.ts";
import type { AgentMetrics } from "./metrics.ts";
import { classify } from "./push/classify.ts";
import { createProxyTrusts, type Account, type IssuerOfSvids } from "./push/proxy-trust.ts";
import { createPusher, type Pusher } from "./push/pusher.ts";
import { checkConsistent, createSnapshotEncoder } from "./xds/snapshot.ts";
import { defaultSettings, translate } from "./xds/translate.ts";

/** A stream moves to another replica after this at the latest: load spreads, and tokens are checked anew. */
const MAX_STREAM_AGE_MS = 30 * 60_000;

export interface Settled {
  readonly ir: MeshIr;
  readonly problems: readonly Problem[];
  readonly inputs: MeshInputs;
}

export interface MeshDeps {
  readonly inputs: () => MeshInputs | undefined;
  readonly issuer: IssuerOfSvids;
  readonly rootsPem: () => string;
  readonly authenticate: (token: string) => Promise<Result<AdsIdentity>>;
  readonly gateway: Account;
  /** Whether requests are counted by pod (request-metrics.ts). */
  readonly podLabel: boolean;
  readonly settled: (settled: Settled) => void;
  readonly onAnswers: AdsServerDeps["onAnswers"];
  readonly fail: (error: unknown) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: AgentMetrics;
}

export interface Mesh {
  readonly ads: AdsServer;
  readonly pusher: Pusher;
  /** Accounts whose credentials are in use. */
  accounts(): Iterable<Account>;
  /** What proxies refused and have not accepted since: for status. */
  nacks(): readonly Problem[];
  onAck(listener: (event: AckEvent) => void): () => void;
}

export function createMesh(deps: MeshDeps): Mesh {
  const acks = new Set<(event: AckEvent) => void>();
  const trusts = createProxyTrusts({
    ...deps,
    changed: () => pusher.changed(),
    failed: (account, error) => deps.log.error("no certificate for a proxy", { ...account }, error),
  });
  const ads = createAdsServer({
    ...deps,
    classify: (peer) => (pusher.ir === undefined ? undefined : classify(pusher.ir, peer, deps.gateway)),
    onClass: ({ wanted, proxyClass }) => (wanted ? pusher.add(proxyClass) : pusher.drop(proxyClass.key)),
    taps: taps(deps, acks),
    limits: { maxStreamAgeMs: MAX_STREAM_AGE_MS },
  });
  const settings = { ...defaultSettings, podLabel: deps.podLabel };
  const encode = createSnapshotEncoder(encodeResource);
  let opened = false;
  const pusher: Pusher = createPusher(
    {
      inputs: deps.inputs,
      buildIr,
      trustOf: (proxy) => trusts.trustOf(proxy),
      translate: (ir, proxy, trust) => translate(ir, proxy, trust, settings),
      encode,
      check: checkConsistent,
      publish: (classKey, snapshot) => ads.publish(classKey, snapshot),
      settled: (ir, problems, inputs) => {
        if (!opened) ads.open();
        opened = true;
        ads.reclassify();
        deps.metrics.pushes.inc();
        deps.metrics.streams.set(ads.counters().streams);
        deps.settled({ ir, problems, inputs });
      },
    },
    deps.fail,
  );
  return {
    ads,
    pusher,
    accounts: () => trusts.accounts(),
    nacks: () => ads.refusals().map(refusalProblem),
    onAck: (listener) => {
      acks.add(listener);
      return () => acks.delete(listener);
    },
  };
}

function taps(deps: MeshDeps, acks: ReadonlySet<(event: AckEvent) => void>): AdsTaps {
  const { metrics, log } = deps;
  return {
    onSent: ({ type, bytes }) => metrics.xdsBytes.inc({ type }, bytes),
    onAck: (event) => {
      for (const listener of acks) listener(event);
    },
    onNack: (event) => {
      const { type, peer, errorText, culprit } = event;
      metrics.xdsNacks.inc({ type });
      const resource = culprit === undefined ? type : `${type} ${culprit.name}`;
      log.error("a proxy refused a resource; its last good one stays", {
        node: peer.nodeId,
        resource,
        reason: errorText,
      });
    },
  };
}

function refusalProblem({ classKey, nodeId, type, name, errorText }: StandingRefusal): Problem {
  const who = nodeId ?? `every proxy of ${classKey}`;
  return {
    code: "ISTHMUS_XDS_NACK",
    message: `${who} refused ${type} ${name}, and keeps its last good one: ${errorText}`,
  };
}
