import { describe, expect, it } from "vitest";
import type { MeshIr, WorkloadIr } from "../ir/types.ts";
import { classify } from "./classify.ts";

const gateway = { namespace: "isthmus-system", serviceAccount: "isthmus-gateway" };

function aWorkload(podUid: string, over: Partial<WorkloadIr> = {}): WorkloadIr {
  const names = { namespace: "shop", podName: `cart-${podUid}`, podUid, podIp: "10.0.0.1", serviceAccount: "cart" };
  const inbound = [{ port: 8080, protocol: "http" } as const];
  return { ...names, workloadKind: "Deployment", workloadName: "cart", inbound, ...over };
}

function irWith(...workloads: readonly WorkloadIr[]): MeshIr {
  return { workloads } as unknown as MeshIr;
}

const cart = { kind: "sidecar", namespace: "shop", serviceAccount: "cart" } as const;

describe("a proxy's class", () => {
  it("is shared by pods of one workload that serve the same ports", () => {
    const ir = irWith(aWorkload("1"), aWorkload("2", { podIp: "10.0.0.2" }));
    const [first, second] = ["1", "2"].map((podUid) => classify(ir, { ...cart, podUid }, gateway));
    expect(first).toBeDefined();
    expect(second).toEqual(first);
  });

  it("differs when another port is served", () => {
    const ir = irWith(aWorkload("1"), aWorkload("2", { inbound: [{ port: 9090, protocol: "tcp" }] }));
    const [first, second] = ["1", "2"].map((podUid) => classify(ir, { ...cart, podUid }, gateway)?.key);
    expect(second).not.toBe(first);
  });

  it.each([
    { name: "a pod that is not known yet", peer: { ...cart, podUid: "9" } },
    { name: "a token of another account", peer: { ...cart, serviceAccount: "admin", podUid: "1" } },
    { name: "a token of another namespace", peer: { ...cart, namespace: "other", podUid: "1" } },
    { name: "a workload that calls itself a gateway", peer: { ...cart, kind: "gateway" as const, podUid: "1" } },
  ])("does not exist for $name", ({ peer }) => {
    expect(classify(irWith(aWorkload("1")), peer, gateway)).toBeUndefined();
  });

  it("is the gateway's for the gateway's account alone", () => {
    const peer = { ...gateway, kind: "gateway" as const, podUid: "g" };
    expect(classify(irWith(), peer, gateway)).toEqual({ key: "gateway", proxy: { kind: "gateway" } });
  });
});
