import { createPrivateKey, X509Certificate } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { capturedLog, type CapturedLog } from "../../hub/testing/redis.ts";
import { parseChainPem } from "../../shared/pki/pem.ts";
import { createSigningPool } from "../../shared/pki/signing-pool.ts";
import { factsOf } from "../../shared/pki/testing/fleet-pki.ts";
import type { ClusterCa, Svid } from "./cluster-ca.ts";
import { createSvidIssuer, type Account, type SvidIssuer } from "./svid-issuer.ts";
import { joinedIdentity } from "./testing/joined-identity.ts";
import { HeldClock } from "./testing/held-clock.ts";
import { openClusterCa } from "./cluster-ca.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const startMs = Date.UTC(2026, 5, 1);

let clock: HeldClock;
let log: CapturedLog;
let clusterCa: ClusterCa;
let issued: number;
let issuer: SvidIssuer;
let changed: Account[];

async function newClusterCa(ttlMs: number): Promise<ClusterCa> {
  const opened = openClusterCa(await joinedIdentity({ nowMs: clock.now(), clusterCaTtlMs: ttlMs }));
  if (!opened.ok) throw new Error(JSON.stringify(opened.error));
  const ca = opened.value;
  const issueSvid: ClusterCa["issueSvid"] = (request, signing) => {
    issued += 1;
    return ca.issueSvid(request, signing);
  };
  return { ...ca, issueSvid };
}

beforeEach(async () => {
  clock = new HeldClock(startMs);
  log = capturedLog();
  issued = 0;
  clusterCa = await newClusterCa(7 * 24 * hourMs);
  const pool = createSigningPool();
  issuer = createSvidIssuer({ clusterCa: () => clusterCa, pool, ttlMs: hourMs, clock, random: () => 0.5, log });
  changed = [];
  issuer.onChange((account) => changed.push(account));
  const ending = new AbortController();
  clock.loops = 1;
  const run = issuer.run(ending.signal).catch((error: unknown) => (error as Error).message);
  return async () => {
    ending.abort(new Error("over"));
    await run;
  };
});

const leafOf = (svid: Svid) => {
  const chain = parseChainPem(svid.chainPem);
  return factsOf((chain.ok ? chain.value : [])[0]!);
};

describe("an SVID", () => {
  it("names its account once, fits its key, and comes with the cluster CA behind it", async () => {
    const svid = await issuer.svidFor("shop", "cart");
    const leaf = leafOf(svid);
    expect(leaf.names).toMatchObject({
      uris: ["spiffe://east.acme.mesh/ns/shop/sa/cart"],
      dnsNames: ["cart.shop.east.acme.mesh"],
    });
    expect(svid.chainPem.endsWith(clusterCa.chainPem)).toBe(true);
    expect(new X509Certificate(svid.chainPem).checkPrivateKey(createPrivateKey(svid.keyPem))).toBe(true);
    expect(svid.notAfterMs).toBe(startMs + hourMs);
  });

  it.each([
    ["shop", "cart/../admin"],
    ["shop/sa/admin", "cart"],
    ["..", "cart"],
    ["shop", "c\u0142rt"],
    ["shop", "cart?x"],
    ["shop", ""],
  ])("is refused for names that would mean another identity: %s, %s", async (namespace, serviceAccount) => {
    await expect(issuer.svidFor(namespace, serviceAccount)).rejects.toThrow("ISTHMUS_SPIFFE_ID");
  });

  it("is one per account, however many ask at the same time", async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => issuer.svidFor("shop", "cart")));
    expect(new Set(all).size).toBe(1);
    await issuer.svidFor("shop", "basket");
    expect(issued).toBe(2);
  });

  it("is replaced at half of its life, with a new key, and that is told", async () => {
    const before = await issuer.svidFor("shop", "cart");
    await clock.pass(29 * minuteMs);
    expect(changed).toEqual([]);
    await clock.pass(2 * minuteMs);
    expect(changed).toEqual([{ namespace: "shop", serviceAccount: "cart" }]);
    const after = await issuer.svidFor("shop", "cart");
    expect(after.keyPem).not.toBe(before.keyPem);
    expect(after.notAfterMs).toBeGreaterThan(before.notAfterMs);
  });

  it("is always valid, whenever it is asked for", async () => {
    for (let at = 0; at < 4 * 4; at += 1) {
      await clock.pass(15 * minuteMs);
      const svid = await issuer.svidFor("shop", "cart");
      expect(svid.notAfterMs - clock.now()).toBeGreaterThan(0.4 * hourMs);
    }
    expect(issued).toBeLessThan(12);
  });

  it("that ended while the machine was suspended is never handed out, and no timer sleeps longer than half a minute", async () => {
    const before = await issuer.svidFor("shop", "cart");
    await clock.pass(minuteMs);
    expect(clock.longestSleepMs()).toBeLessThanOrEqual(30_000);
    clock.jump(2 * hourMs);
    const after = await issuer.svidFor("shop", "cart");
    expect(after.notAfterMs).toBeGreaterThan(clock.now());
    expect(after.keyPem).not.toBe(before.keyPem);
  });

  it("is renewed within half a minute after a suspension, without anybody asking", async () => {
    await issuer.svidFor("shop", "cart");
    await clock.pass(minuteMs);
    clock.jump(40 * minuteMs);
    await clock.pass(30_000);
    expect(changed).toHaveLength(1);
  });

  it("of an account that is no longer in use is forgotten", async () => {
    await issuer.svidFor("shop", "cart");
    await issuer.svidFor("shop", "basket");
    issuer.retain([{ namespace: "shop", serviceAccount: "basket" }]);
    await clock.pass(31 * minuteMs);
    expect(changed).toEqual([{ namespace: "shop", serviceAccount: "basket" }]);
  });
});

describe("near the end of the cluster CA", () => {
  beforeEach(async () => {
    clusterCa = await newClusterCa(90 * minuteMs);
  });

  it("no SVID outlives it, and it is not asked for ever shorter ones", async () => {
    await issuer.svidFor("shop", "cart");
    await clock.pass(89 * minuteMs);
    const svid = await issuer.svidFor("shop", "cart");
    expect(svid.notAfterMs).toBeLessThanOrEqual(clusterCa.validity.notAfterMs);
    expect(issued).toBeLessThanOrEqual(3);
  });

  it("after its end nothing is signed, the caller is told why; the renewed CA heals it by itself", async () => {
    await issuer.svidFor("shop", "cart");
    await clock.pass(91 * minuteMs);
    await expect(issuer.svidFor("shop", "cart")).rejects.toThrow("ISTHMUS_ISSUER_EXPIRED");
    clusterCa = await newClusterCa(7 * 24 * hourMs);
    expect((await issuer.svidFor("shop", "cart")).notAfterMs).toBeGreaterThan(clock.now());
  });
});
