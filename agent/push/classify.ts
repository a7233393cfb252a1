// From an authenticated peer to its proxy class. Called for every stream when the mesh changed. Pods that serve the same
// ports under the same account share a class and with it every byte; nothing of a single pod enters the key.
import type { MeshIr, WorkloadIr } from "../ir/types.ts";
import type { ProxyClass } from "../xds/proxy.ts";

/** What the token proved about the other end (agent/ads/peer.ts gives more). */
export interface ClassifiedPeer {
  readonly kind: "sidecar" | "gateway";
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podUid: string;
}

export interface KeyedClass {
  readonly key: string;
  readonly proxy: ProxyClass;
}

export interface GatewayAccount {
  readonly namespace: string;
  readonly serviceAccount: string;
}

const byUid = new WeakMap<readonly WorkloadIr[], ReadonlyMap<string, WorkloadIr>>();

function workloadOf(ir: MeshIr, podUid: string): WorkloadIr | undefined {
  let index = byUid.get(ir.workloads);
  if (index === undefined) {
    index = new Map(ir.workloads.map((workload) => [workload.podUid, workload]));
    byUid.set(ir.workloads, index);
  }
  return index.get(podUid);
}

function gatewayClass({ gatewayBind: bind }: MeshIr): KeyedClass {
  if (bind === undefined) return { key: "gateway", proxy: { kind: "gateway" } };
  return { key: `gateway/${bind.host}:${bind.port}`, proxy: { kind: "gateway", bind } };
}

/**
 * Undefined while the peer's pod is not known (the stream waits), and for ever when somebody else than the gateway's
 * account calls itself a gateway: a gateway's configuration names every export.
 */
export function classify(ir: MeshIr, peer: ClassifiedPeer, gateway: GatewayAccount): KeyedClass | undefined {
  if (peer.kind === "gateway") {
    const isGateway = peer.namespace === gateway.namespace && peer.serviceAccount === gateway.serviceAccount;
    return isGateway ? gatewayClass(ir) : undefined;
  }
  const workload = workloadOf(ir, peer.podUid);
  if (workload?.serviceAccount !== peer.serviceAccount || workload.namespace !== peer.namespace) return undefined;
  const { namespace, serviceAccount, workloadKind, workloadName, inbound, podName, bound } = workload;
  const ports = inbound.map(({ port, protocol }) => `${port}/${protocol}`).join(",");
  const key = `sidecar/${namespace}/${serviceAccount}/${workloadKind}/${workloadName}/${ports}`;
  const proxy: ProxyClass = { kind: "sidecar", namespace, serviceAccount, workloadKind, workloadName, inbound };
  if (bound === undefined) return { key, proxy };
  return { key: `${key}/${podName}/${JSON.stringify(bound)}`, proxy: { ...proxy, bound } };
}
