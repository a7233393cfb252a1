import { describe, expect, it } from "vitest";
import { discovery } from "./discovery.ts";
import { parsePath } from "./path.ts";

const at = (rest: string) => `/apis/metrics.smi-spec.io/v1alpha1${rest}`;

describe("a path of metrics.smi-spec.io", () => {
  it.each([
    ["/namespaces", { plural: "namespaces", namespace: "", name: "", edges: false }],
    ["/namespaces/shop", { plural: "namespaces", namespace: "", name: "shop", edges: false }],
    ["/namespaces/shop/edges", { plural: "namespaces", namespace: "", name: "shop", edges: true }],
    ["/deployments", { plural: "deployments", namespace: "", name: "", edges: false }],
    ["/namespaces/shop/pods", { plural: "pods", namespace: "shop", name: "", edges: false }],
    [
      "/namespaces/shop/deployments/cart-v1",
      { plural: "deployments", namespace: "shop", name: "cart-v1", edges: false },
    ],
    [
      "/namespaces/shop/deployments/cart-v1/edges",
      { plural: "deployments", namespace: "shop", name: "cart-v1", edges: true },
    ],
    [
      "/namespaces/shop/trafficsplits/cart/",
      { plural: "trafficsplits", namespace: "shop", name: "cart", edges: false },
    ],
  ])("%s asks for metrics", (rest, { plural, ...query }) => {
    expect(parsePath(at(rest))).toMatchObject({ what: "metrics", query: { of: { plural }, ...query } });
  });

  it.each([
    ["/apis", "groups"],
    ["/apis/metrics.smi-spec.io", "group"],
    ["/apis/metrics.smi-spec.io/v1alpha1", "resources"],
  ])("%s is discovery", (path, what) => {
    expect(parsePath(path)).toEqual({ what });
  });

  it.each([
    ["/", "alone"],
    ["/apis/metrics.k8s.io/v1beta1", "alone"],
    ["/apis/metrics.smi-spec.io/v2", "v1alpha1"],
    [at("/cronjobs"), "no request is labelled"],
    [at("/namespaces/shop/nodes/n1"), "in no namespace"],
    [at("/namespaces/shop/namespaces"), "are in no namespace"],
    [at("/deployments/cart"), "are in a namespace"],
    [at("/namespaces/shop/pods/cart/logs"), "edges"],
    [at("/namespaces/shop/pods/cart/edges/x"), "edges"],
    [at('/namespaces/shop/pods/"} or vector(1)'), "no name"],
    [at('/namespaces/{a="b"}/pods'), "no name"],
  ])("%s is nothing, and the answer says why", (path, reason) => {
    expect(parsePath(path)).toEqual({ what: "nothing", reason: expect.stringContaining(reason) as string });
  });
});

it("every kind that can be asked for is listed, with its edges", () => {
  const names = discovery.resources.resources.map(({ name }) => name);
  expect(names).toContain("deployments");
  expect(names).toContain("trafficsplits/edges");
  for (const name of names.filter((one) => !one.includes("/")))
    expect(parsePath(at(`/${name}`))).toMatchObject({ what: "metrics" });
});
