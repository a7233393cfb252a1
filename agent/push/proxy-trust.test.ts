import { describe, expect, it } from "vitest";
import type { ProxyClass } from "../xds/proxy.ts";
import { createProxyTrusts, type Account } from "./proxy-trust.ts";

const cart: ProxyClass = {
  kind: "sidecar",
  namespace: "shop",
  serviceAccount: "cart",
  workloadKind: "Deployment",
  workloadName: "cart",
  inbound: [],
};

function fakeIssuer() {
  const listeners: ((account: Account) => void)[] = [];
  const asked: string[] = [];
  const state = { serial: 1, roots: "roots-1", fail: false, changes: 0, failures: 0 };
  const trusts = createProxyTrusts({
    issuer: {
      svidFor: (namespace, serviceAccount) => {
        asked.push(`${namespace}/${serviceAccount}`);
        if (state.fail) return Promise.reject(new Error("the cluster CA has ended"));
        return Promise.resolve({ chainPem: `chain-${state.serial}`, keyPem: "key" });
      },
      onChange: (listener) => {
        listeners.push(listener);
        return () => undefined;
      },
    },
    rootsPem: () => state.roots,
    gateway: { namespace: "isthmus-system", serviceAccount: "isthmus-gateway" },
    changed: () => (state.changes += 1),
    failed: () => (state.failures += 1),
  });
  return { trusts, state, asked, renewed: (account: Account) => listeners.forEach((listener) => listener(account)) };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("the credential of a proxy", () => {
  it("is asked for once, and announced when it is there", async () => {
    const { trusts, state, asked } = fakeIssuer();
    expect([trusts.trustOf(cart), trusts.trustOf(cart)]).toEqual([undefined, undefined]);
    await settled();
    expect(asked).toEqual(["shop/cart"]);
    expect(state.changes).toBe(1);
    expect(trusts.trustOf(cart)).toEqual({ rootsPem: "roots-1", chainPem: "chain-1", keyPem: "key" });
  });

  it("is the same object until it is renewed or the roots change", async () => {
    const { trusts, state, renewed } = fakeIssuer();
    trusts.trustOf(cart);
    await settled();
    const first = trusts.trustOf(cart);
    expect(trusts.trustOf(cart)).toBe(first);
    state.roots = "roots-1+2";
    expect(trusts.trustOf(cart)).toEqual({ rootsPem: "roots-1+2", chainPem: "chain-1", keyPem: "key" });
    state.serial = 2;
    renewed({ namespace: "shop", serviceAccount: "cart" });
    expect(trusts.trustOf(cart)?.chainPem).toBe("chain-1");
    await settled();
    expect(trusts.trustOf(cart)?.chainPem).toBe("chain-2");
  });

  it("of a gateway is the gateway account's", () => {
    const { trusts, asked } = fakeIssuer();
    trusts.trustOf({ kind: "gateway" });
    expect(asked).toEqual(["isthmus-system/isthmus-gateway"]);
  });

  it("is asked for again after a failure", async () => {
    const { trusts, state, asked } = fakeIssuer();
    state.fail = true;
    trusts.trustOf(cart);
    await settled();
    expect(state.failures).toBe(1);
    state.fail = false;
    trusts.trustOf(cart);
    await settled();
    expect(asked).toHaveLength(2);
    expect(trusts.trustOf(cart)).toBeDefined();
  });
});
