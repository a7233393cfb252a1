// A cluster of two Deployments and a split, and a Prometheus that has what the sidecars counted: for tests of what becomes of it.
import type { TrafficSplitInput } from "../../ir/inputs.ts";
import type { AnswerDeps, Selected } from "../answer.ts";
import type { Measured, Sample, Samples } from "../items.ts";
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
    objects: (_of, selected) => {
      const app = selected.labelSelector.replace("app=", "");
      return Promise.resolve(selectedOf(deployments, selected).filter((one) => app === "" || one.app === app));
    },
    splits: (selected) => Promise.resolve(selectedOf([split], selected)),
    now: () => new Date("2026-01-02T03:04:05Z"),
  };
}
