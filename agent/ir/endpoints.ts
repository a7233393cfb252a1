// Who stands behind one port of a local Service: EndpointSlices joined with pods, so that an endpoint has an identity.
// Called by services.ts. A pod of another namespace is never joined: a slice written by hand must not borrow its identity.
import type { EndpointInput, PodInput, SliceInput } from "./inputs.ts";
import { sameElements } from "./memo.ts";
import { compareText } from "./order.ts";
import { podByName, podsByAddress, type PodIndex } from "./pod-index.ts";
import type { LocalEndpoint } from "./types.ts";

/** The pods of one slice, in the order of its endpoints; undefined where the address is no pod of this namespace. */
export type SlicePods = readonly (PodInput | undefined)[];

export interface SliceWithPods {
  readonly slice: SliceInput;
  readonly pods: SlicePods;
}

function podOf(endpoint: EndpointInput, namespace: string, index: PodIndex): PodInput | undefined {
  if (endpoint.podName !== "") return podByName(index, namespace, endpoint.podName);
  return podsByAddress(index, endpoint.address).find((pod) => pod.namespace === namespace);
}

/** The very join of `last` again as long as the slice and its pods are the same records. */
export function joinPods(slice: SliceInput, index: PodIndex, last: SliceWithPods | undefined): SliceWithPods {
  const pods = slice.endpoints.map((endpoint) => podOf(endpoint, slice.namespace, index));
  return last?.slice === slice && sameElements(last.pods, pods) ? last : { slice, pods };
}

/** EndpointSlices of type FQDN exist; Envoy's EDS takes addresses only. */
export function isAddress(text: string): boolean {
  return text.includes(":") || /^[0-9]+(\.[0-9]+){3}$/.test(text);
}

interface Candidate {
  readonly endpoint: LocalEndpoint;
  /** Terminating but still serving. */
  readonly draining: boolean;
}

type Identity = Pick<LocalEndpoint, "serviceAccount" | "meshed" | "podName" | "workloadKind" | "workloadName">;

function whoIs(endpoint: EndpointInput, pod: PodInput | undefined): Identity {
  if (pod === undefined)
    return { serviceAccount: "", meshed: false, podName: endpoint.podName, workloadKind: "", workloadName: "" };
  const { serviceAccount, meshed, name: podName, workloadKind, workloadName } = pod;
  return { serviceAccount, meshed, podName, workloadKind, workloadName };
}

/**
 * Undefined: nobody to call. A pod that is named and not known (yet, or any more) has no identity to check, and says nothing of
 * whether its service is in the mesh: taken for one without a sidecar, a service that loses its last pod would for a moment be called
 * in plaintext, around the mesh.
 */
function candidateOf(endpoint: EndpointInput, port: number, pod: PodInput | undefined): Candidate | undefined {
  const draining = endpoint.terminating && endpoint.serving;
  if (!isAddress(endpoint.address) || (endpoint.terminating && !draining)) return undefined;
  if (endpoint.podName !== "" && pod === undefined) return undefined;
  const described: LocalEndpoint = {
    address: endpoint.address,
    port,
    ready: endpoint.ready && !endpoint.terminating,
    ...whoIs(endpoint, pod),
    zone: endpoint.zone,
  };
  const said = { ...described, ...(endpoint.failing === true ? { failing: endpoint.failing } : {}) };
  return { endpoint: endpoint.hostname === "" ? said : { ...said, hostname: endpoint.hostname }, draining };
}

/** One endpoint per pod: in a dual-stack cluster a second slice lists every pod again; the pod's own address wins. */
function isBetter(next: Candidate, known: Candidate, pod: PodInput | undefined): boolean {
  if (next.endpoint.ready !== known.endpoint.ready) return next.endpoint.ready;
  if (next.endpoint.address === known.endpoint.address) return known.draining && !next.draining;
  if (pod?.ip === next.endpoint.address || pod?.ip === known.endpoint.address) return pod.ip === next.endpoint.address;
  return compareText(next.endpoint.address, known.endpoint.address) < 0;
}

function collect(into: Map<string, Candidate>, slice: SliceInput, port: number, pods: SlicePods): void {
  slice.endpoints.forEach((endpoint, position) => {
    const pod = pods[position];
    const next = candidateOf(endpoint, port, pod);
    if (next === undefined) return;
    const key = `${next.endpoint.podName === "" ? endpoint.address : next.endpoint.podName} ${port}`;
    const known = into.get(key);
    if (known === undefined || isBetter(next, known, pod)) into.set(key, next);
  });
}

function compareEndpoints(a: LocalEndpoint, b: LocalEndpoint): number {
  return compareText(a.address, b.address) || a.port - b.port || compareText(a.podName, b.podName);
}

/**
 * Endpoints of the Service port called `portName`. What terminates is used only when nothing is ready (KEP-1672), and is
 * no lost capacity otherwise: counted as unhealthy it would push traffic to other members during every rolling update.
 */
export function endpointsOf(portName: string, slices: readonly SliceWithPods[]): readonly LocalEndpoint[] {
  const candidates = new Map<string, Candidate>();
  for (const { slice, pods } of slices) {
    for (const port of slice.ports) {
      if (port.name === portName) collect(candidates, slice, port.port, pods);
    }
  }
  const all = [...candidates.values()];
  const anyReady = all.some((candidate) => candidate.endpoint.ready);
  return all
    .filter((candidate) => !candidate.draining || !anyReady)
    .map(({ endpoint, draining }) => (draining ? { ...endpoint, ready: true } : endpoint))
    .sort(compareEndpoints);
}
