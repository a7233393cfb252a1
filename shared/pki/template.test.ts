import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TrustDomain } from "../ids.ts";
import { backdateMs, renewalDueMs, validityFrom, workloadTemplate, type Validity } from "./template.ts";
import { validFor } from "./testing/fleet-pki.ts";

const hourMs = 3_600_000;
const nowMs = fc.integer({ min: Date.UTC(2025, 0), max: Date.UTC(2045, 0) });
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("validity", () => {
  it("a child never outlives its issuer, is valid now and five minutes ago, and has whole seconds", () => {
    fc.assert(
      fc.property(nowMs, fc.integer({ min: 1000, max: 400 * 24 * hourMs }), fc.integer(), (now, ttlMs, offset) => {
        const issuerEndMs = now + offset;
        const validity = validityFrom(now, ttlMs, issuerEndMs);
        if (!validity.ok) {
          // whole seconds: what is left of the issuer may be less than one
          expect(Math.floor(Math.min(now + ttlMs, issuerEndMs) / 1000) * 1000).toBeLessThanOrEqual(now);
          return;
        }
        const { notBeforeMs, notAfterMs } = validity.value;
        expect(notAfterMs).toBeLessThanOrEqual(issuerEndMs);
        expect(notAfterMs).toBeLessThanOrEqual(now + ttlMs);
        expect(notAfterMs).toBeGreaterThan(now);
        expect(notBeforeMs).toBeLessThanOrEqual(now - backdateMs);
        expect([notBeforeMs % 1000, notAfterMs % 1000]).toEqual([0, 0]);
      }),
    );
  });

  it("an issuer that has ended signs nothing", () => {
    expect(validityFrom(1_000_000_000_000, hourMs, 999_999_999_999)).toMatchObject({
      ok: false,
      error: [{ code: "ISTHMUS_ISSUER_EXPIRED" }],
    });
  });
});

describe("renewal", () => {
  it("is due between 45 and 55 % of the life since the issue, however short it is", () => {
    fc.assert(
      fc.property(nowMs, fc.integer({ min: 30_000, max: 30 * 24 * hourMs }), random, (now, ttlMs, at) => {
        const validity = validityFrom(now, ttlMs, Number.MAX_SAFE_INTEGER);
        if (!validity.ok) throw new Error("not valid");
        const part = (renewalDueMs(validity.value, at) - now) / ttlMs;
        // the second that the times are cut to is 3 % of the shortest life
        expect(part).toBeGreaterThan(0.41);
        expect(part).toBeLessThan(0.56);
      }),
    );
  });

  it("leaves no instant without a valid chain, whatever the jitter: a leaf's CA and the leaf are replaced in time", () => {
    fc.assert(
      fc.property(
        fc.record({
          startMs: nowMs,
          caTtlMs: fc.integer({ min: 10 * 60_000, max: 7 * 24 * hourMs }),
          share: fc.double({ min: 0.005, max: 0.4, noNaN: true }),
          jitter: fc.array(random, { minLength: 5, maxLength: 20 }),
        }),
        ({ startMs, caTtlMs, share, jitter }) => {
          const gaps = gapsOf({ startMs, caTtlMs, leafTtlMs: Math.max(30_000, caTtlMs * share), jitter });
          expect(gaps).toEqual([]);
        },
      ),
    );
  });
});

interface Run {
  readonly startMs: number;
  readonly caTtlMs: number;
  readonly leafTtlMs: number;
  readonly jitter: readonly number[];
}

/** Plays renewals of a CA and of a leaf under it by the rules of the product; answers the moments at which a chain was not valid. */
function gapsOf({ startMs, caTtlMs, leafTtlMs, jitter }: Run): readonly string[] {
  let draws = 0;
  const random = () => jitter[draws++ % jitter.length] ?? 0;
  const issue = (now: number, ttlMs: number, issuerEndMs: number): Validity => {
    const validity = validityFrom(now, ttlMs, issuerEndMs);
    if (!validity.ok) throw new Error(JSON.stringify(validity.error));
    return validity.value;
  };
  const gaps: string[] = [];
  let ca = issue(startMs, caTtlMs, Number.MAX_SAFE_INTEGER);
  let leaf = issue(startMs, leafTtlMs, ca.notAfterMs);
  let [caDueMs, leafDueMs] = [renewalDueMs(ca, random()), renewalDueMs(leaf, random())];
  let leafCa = ca;
  for (let step = 0; step < 400; step += 1) {
    const now = Math.ceil(Math.min(caDueMs, leafDueMs));
    // the old ones must be valid up to the moment of their replacement
    if (now >= leaf.notAfterMs || now >= leafCa.notAfterMs) gaps.push(`leaf ended before ${now - startMs}`);
    if (now >= ca.notAfterMs) gaps.push(`ca ended before ${now - startMs}`);
    if (leaf.notAfterMs > leafCa.notAfterMs) gaps.push("a leaf outlives its CA");
    if (caDueMs <= leafDueMs) {
      ca = issue(now, caTtlMs, Number.MAX_SAFE_INTEGER);
      caDueMs = renewalDueMs(ca, random());
    } else {
      [leaf, leafCa] = [issue(now, leafTtlMs, ca.notAfterMs), ca];
      leafDueMs = renewalDueMs(leaf, random());
    }
  }
  return gaps;
}

describe("a workload's names", () => {
  const dnsNamesOf = (serviceAccount: string, namespace = "shop") =>
    workloadTemplate({ trustDomain: "east.acme.mesh" as TrustDomain, namespace, serviceAccount }, validFor(hourMs));

  it.each([
    ["cart", ["cart.shop.east.acme.mesh"]],
    ["a.b", ["a.b.shop.east.acme.mesh"]],
    ["x".repeat(63), [`${"x".repeat(63)}.shop.east.acme.mesh`]],
    ["x".repeat(64), []],
    [`${"x".repeat(62)}.${"y".repeat(62)}.${"z".repeat(62)}.${"v".repeat(62)}`, []],
  ])("service account %s has the DNS names %j, and always its one URI", (serviceAccount, dnsNames) => {
    const template = dnsNamesOf(serviceAccount);
    expect(template.dnsNames).toEqual(dnsNames);
    expect(template.uris).toEqual([`spiffe://east.acme.mesh/ns/shop/sa/${serviceAccount}`]);
  });
});
