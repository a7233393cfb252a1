import { describe, expect, it } from "vitest";
import { aBinding } from "../ir/testing/objects.ts";
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

  it("is each bound workload's own, and another one when it binds other addresses", () => {
    const bound = aBinding();
    const elsewhere = aBinding({ inboundAddresses: ["127.64.32.0"] });
    const keyOf = (workload: WorkloadIr) =>
      classify(irWith(workload), { ...cart, podUid: workload.podUid }, gateway)?.key;
    const keys = [
      aWorkload("1", { bound }),
      aWorkload("2", { bound }),
      aWorkload("1", { bound: elsewhere }),
      aWorkload("1"),
    ].map(keyOf);
    expect(new Set(keys).size).toBe(keys.length);
    expect(classify(irWith(aWorkload("1", { bound })), { ...cart, podUid: "1" }, gateway)?.proxy).toMatchObject({
      bound,
    });
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
    const gatewayBind = { host: "127.0.0.1", port: 25443 };
    expect(classify({ ...irWith(), gatewayBind }, peer, gateway)).toEqual({
      key: "gateway/127.0.0.1:25443",
      proxy: { kind: "gateway", bind: gatewayBind },
    });
  });
});
