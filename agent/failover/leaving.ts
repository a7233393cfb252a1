// What a member's own view is once workloads that fail are left: their endpoints are not ready, wherever another one is. Pure; called
// before the view is built, so that this member's callers, what it publishes and the sidecars themselves follow from one word.
import type { EndpointInput, MeshInputs, PodInput, SliceInput } from "../ir/inputs.ts";

const notReady = { ready: false, serving: false } as const;
const marked = { failing: true } as const;

export type OwnView = Pick<MeshInputs, "slices" | "pods">;

interface Named {
  readonly namespace: string;
  readonly name: string;
}

const keyOf = ({ namespace, name }: Named): string => `${namespace}/${name}`;

/** Those of the failing that can be left: every service that they serve has an endpoint that does not fail. */
export function podsToLeave({ slices, pods }: OwnView, failing: ReadonlySet<string>): ReadonlySet<PodInput> {
  const candidates = new Map(pods.filter(({ uid }) => failing.has(uid)).map((pod) => [keyOf(pod), pod]));
  if (candidates.size === 0) return new Set();
  const services = new Map<string, { readonly failing: PodInput[]; good: boolean }>();
  for (const { namespace, service, endpoints } of slices) {
    const key = `${namespace}/${service}`;
    const known = services.get(key) ?? { failing: [], good: false };
    services.set(key, known);
    for (const { podName, ready, terminating } of endpoints) {
      const pod = candidates.get(keyOf({ namespace, name: podName }));
      if (pod !== undefined) known.failing.push(pod);
      else if (ready && !terminating) known.good = true;
    }
  }
  const served = [...services.values()];
  const needed = new Set(served.filter(({ good }) => !good).flatMap((service) => service.failing));
  return new Set(served.flatMap((service) => service.failing).filter((pod) => !needed.has(pod)));
}

/** Those that are left are not ready, the other failing ones are marked. Unchanged parts keep their identity. */
export function asTheyAnswer<View extends OwnView>(
  view: View,
  { failing, left }: { readonly failing: ReadonlySet<string>; readonly left: ReadonlySet<PodInput> },
): View {
  const concerned = view.pods.filter(({ uid }) => failing.has(uid));
  if (concerned.length === 0) return view;
  const change = new Map(concerned.map((pod) => [keyOf(pod), left.has(pod) ? notReady : marked]));
  const slices = view.slices.map((slice): SliceInput => {
    const { namespace, endpoints } = slice;
    const changeOf = ({ podName }: EndpointInput) => change.get(keyOf({ namespace, name: podName }));
    if (!endpoints.some((endpoint) => changeOf(endpoint) !== undefined)) return slice;
    return { ...slice, endpoints: endpoints.map((endpoint) => ({ ...endpoint, ...changeOf(endpoint) })) };
  });
  const pods = view.pods.map((pod): PodInput => {
    if (!left.has(pod)) return pod;
    // its sidecar sends away what still comes over open connections
    return { ...pod, ready: false, ...(pod.bound === undefined ? {} : { bound: { ...pod.bound, unready: true } }) };
  });
  return { ...view, slices, pods };
}
