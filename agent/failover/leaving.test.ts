import { describe, expect, it } from "vitest";
import type { EndpointInput, PodInput, SliceInput } from "../ir/inputs.ts";
import { asTheyAnswer, podsToLeave, type OwnView } from "./leaving.ts";

const pod = (name: string): PodInput => ({
  ...{ namespace: "shop", name, uid: `uid-${name}`, ip: "10.0.0.1", serviceAccount: "cart", labels: {}, ports: [] },
  ...{ meshed: true, workloadKind: "Workload", workloadName: name, ready: true, terminating: false },
});
const endpoint = (podName: string, ready = true): EndpointInput => ({
  ...{ address: "10.0.0.1", ready, serving: ready, terminating: false, podName, hostname: "", zone: "" },
});
const slice = (service: string, ...endpoints: EndpointInput[]): SliceInput => ({
  ...{ namespace: "shop", name: `${service}-0`, service, ports: [{ name: "http", port: 8080 }], endpoints },
});
const view = (...slices: SliceInput[]): OwnView => {
  const names = new Set(slices.flatMap(({ endpoints }) => endpoints.map(({ podName }) => podName)));
  return { slices, pods: [...names].map(pod) };
};
const left = (own: OwnView, ...names: string[]) =>
  [...podsToLeave(own, new Set(names.map((name) => `uid-${name}`)))].map(({ name }) => name);

describe("a workload that fails", () => {
  it.each<[string, OwnView, readonly string[], readonly string[]]>([
    ["is left when another serves", view(slice("cart", endpoint("a"), endpoint("b"))), ["a"], ["a"]],
    ["is not left when it is the only one", view(slice("cart", endpoint("a"))), ["a"], []],
    ["is not left when the others fail too", view(slice("cart", endpoint("a"), endpoint("b"))), ["a", "b"], []],
    ["is not left for one that is not ready", view(slice("cart", endpoint("a"), endpoint("b", false))), ["a"], []],
    [
      "is left when another serves in a slice of its own",
      view(slice("cart", endpoint("a")), slice("cart", endpoint("b"))),
      ["a"],
      ["a"],
    ],
    [
      "is not left when another of its services has nobody else",
      view(slice("cart", endpoint("a"), endpoint("b")), slice("stock", endpoint("a"))),
      ["a"],
      [],
    ],
    ["that serves nothing is nobody's to leave", { slices: [], pods: [pod("a")] }, ["a"], []],
  ])("%s", (_what, own, failing, expected) => {
    expect(left(own, ...failing)).toEqual(expected);
  });

  it("is not ready for anybody once it is left, and all else is the same", () => {
    const own = view(slice("cart", endpoint("a"), endpoint("b")), slice("stock", endpoint("b")));
    const failing = new Set(["uid-a"]);
    const next = asTheyAnswer(own, { failing, left: podsToLeave(own, failing) });
    expect(next.slices[0]?.endpoints.map(({ podName, ready }) => [podName, ready])).toEqual([
      ["a", false],
      ["b", true],
    ]);
    expect(next.slices[1]).toBe(own.slices[1]);
    expect(next.pods.map(({ ready }) => ready)).toEqual([false, true]);
    expect(next.pods[1]).toBe(own.pods[1]);
  });

  it("changes nothing while nobody is left", () => {
    const own = view(slice("cart", endpoint("a")));
    expect(asTheyAnswer(own, { failing: new Set(["uid-of-another"]), left: new Set() })).toBe(own);
  });

  it("that nobody can leave here is marked, so that other members can", () => {
    const own = view(slice("cart", endpoint("a")));
    const next = asTheyAnswer(own, { failing: new Set(["uid-a"]), left: new Set() });
    expect(next.slices[0]?.endpoints).toEqual([{ ...endpoint("a"), failing: true }]);
    expect(next.pods[0]).toBe(own.pods[0]);
  });
});
