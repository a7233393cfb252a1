// A cluster of two Deployments and a split, and a Prometheus that has what the sidecars counted: for tests of what becomes of it.
import type { TrafficSplitInput } from "../../ir/inputs.ts";
import type { AnswerDeps, Selected } from "../answer.ts";
import type { Measured, MeasuredPod, Sample, Samples } from "../items.ts";
import { metricNames, type MetricName } from "../queries.ts";

export const split: TrafficSplitInput = {
  ...{ namespace: "shop", name: "cart", service: "cart.shop", matches: [], createdAtMs: 0 },
  backends: [
    { service: "cart-primary", weight: 90 },
    { service: "cart-canary", weight: 10 },
  ],
};

const deployments: readonly (Measured & { readonly app: string })[] = [
  { namespace: "shop", name: "cart-v1", app: "cart" },
  { namespace: "shop", name: "front-end", app: "front" },
];

const pods: readonly MeasuredPod[] = [
  { namespace: "shop", name: "c-0", node: "one", owners: ["ReplicaSet cart-v1-5d9c"] },
  { namespace: "shop", name: "db.0", node: "one", owners: ["StatefulSet db"] },
  { namespace: "bank", name: "db.0", node: "one", owners: ["StatefulSet db"] },
  { namespace: "shop", name: "cart-1", node: "two", owners: ["ReplicaSet cart-v1-77aa"] },
];

/** By plural. */
const containers: Readonly<Record<string, readonly Measured[]>> = {
  nodes: [
    { namespace: "", name: "one" },
    { namespace: "", name: "empty" },
  ],
  replicasets: [{ namespace: "shop", name: "cart-v1-5d9c" }],
};

function selectedOf<T extends Measured>(all: readonly T[], { namespace, name }: Selected): readonly T[] {
  return all.filter((one) => (namespace === "" || one.namespace === namespace) && (name === "" || one.name === name));
}

/** `app=NAME` is all that it understands of selectors. */
export function standIn(
  answers: Partial<Record<MetricName, readonly Sample[]>>,
): AnswerDeps & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    cluster: "east",
    prometheus: {
      query: (queries) => {
        asked.push(...Object.values(queries));
        const samples = Object.fromEntries(metricNames.map((name) => [name, answers[name] ?? []]));
        return Promise.resolve(samples as unknown as Samples);
      },
    },
    objects: (of, selected) => {
      const contained = containers[of.plural];
      if (contained !== undefined) return Promise.resolve(selectedOf(contained, { ...selected, labelSelector: "" }));
      const app = selected.labelSelector.replace("app=", "");
      return Promise.resolve(selectedOf(deployments, selected).filter((one) => app === "" || one.app === app));
    },
    podLabel: true,
    pods: (selected) => Promise.resolve(selectedOf(pods, selected)),
    splits: (selected) => Promise.resolve(selectedOf([split], selected)),
    now: () => new Date("2026-01-02T03:04:05Z"),
  };
}
