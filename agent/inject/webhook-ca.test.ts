import { X509Certificate } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseChainPem } from "../../shared/pki/pem.ts";
import { overlapMs } from "./webhook-ca-plan.ts";
import { ensureWebhookTrust, runWebhookCa, type WebhookCaStore, type WebhookTrust } from "./webhook-ca.ts";

const serverName = "isthmus-agent.isthmus-system.svc";
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const startMs = Date.UTC(2026, 0, 1);

/** A Secret in an API server: a version that rises with every write, and a conflict when it is not the one that was read. */
function aStore(): WebhookCaStore & { text: string | undefined; writes: number } {
  let version = 0;
  return {
    text: undefined,
    writes: 0,
    load() {
      const texts = { webhookCa: this.text ?? "" };
      return Promise.resolve(this.text === undefined ? undefined : { texts, version: String(version) });
    },
    save(texts, expected) {
      if (expected !== (this.text === undefined ? undefined : String(version)))
        return Promise.resolve({ saved: false });
      this.text = texts["webhookCa"];
      this.writes++;
      version++;
      return Promise.resolve({ saved: true });
    },
  };
}

function authorities({ caBundlePem }: WebhookTrust): readonly X509Certificate[] {
  const chain = parseChainPem(caBundlePem);
  return chain.ok ? chain.value.map((der) => new X509Certificate(der)) : [];
}

function isTrusted(certificatePem: string, by: WebhookTrust): boolean {
  const leaf = new X509Certificate(certificatePem);
  return authorities(by).some((authority) => leaf.checkIssued(authority) && leaf.verify(authority.publicKey));
}

test("the first replica makes the CA, the second takes it over", async () => {
  const store = aStore();
  const deps = { store, clock: { now: () => startMs }, serverName };
  const first = await ensureWebhookTrust(deps);
  expect(await ensureWebhookTrust(deps)).toMatchObject({
    caBundlePem: first.caBundlePem,
    certificate: first.certificate,
  });
  expect(store.writes).toBe(1);
  const leaf = new X509Certificate(first.certificate.chainPem);
  expect(leaf.checkHost(serverName)).toBe(serverName);
  expect(isTrusted(first.certificate.chainPem, first)).toBe(true);
});

test("two replicas that start at once agree on one CA", async () => {
  const deps = { store: aStore(), clock: { now: () => startMs }, serverName };
  const [a, b] = await Promise.all([ensureWebhookTrust(deps), ensureWebhookTrust(deps)]);
  expect(a.certificate).toEqual(b.certificate);
  expect(a.caBundlePem).toBe(b.caBundlePem);
});

test("a Secret that cannot be read is replaced", async () => {
  const store = aStore();
  for (const text of ["", "null", "{}", '{"version":1,"authorities":[],"serving":{}}', '{"version":2}']) {
    store.text = text;
    const trust = await ensureWebhookTrust({ store, clock: { now: () => startMs }, serverName });
    expect(isTrusted(trust.certificate.chainPem, trust), text).toBe(true);
  }
});

test("nothing is written while nothing is due", async () => {
  const store = aStore();
  for (let hour = 0; hour < 24 * 14; hour++) {
    await ensureWebhookTrust({ store, clock: { now: () => startMs + hour * hourMs }, serverName });
  }
  expect(store.writes).toBe(1);
});

test("a new authority stands in the bundle for an hour before it signs, and the old one an hour after", async () => {
  const store = aStore();
  const at = (ms: number) => ensureWebhookTrust({ store, clock: { now: () => startMs + ms }, serverName });
  await at(0);
  const before = await at(182 * dayMs);
  const due = 183 * dayMs;
  const announced = await at(due);
  expect(authorities(announced)).toHaveLength(2);
  expect(isTrusted(announced.certificate.chainPem, before)).toBe(true);
  const signing = await at(due + overlapMs);
  expect(isTrusted(signing.certificate.chainPem, announced)).toBe(true);
  expect(isTrusted(signing.certificate.chainPem, before)).toBe(false);
  expect(authorities(signing)).toHaveLength(2);
  expect(authorities(await at(due + 2 * overlapMs))).toHaveLength(1);
});

describe("over years, however rarely it is asked", () => {
  test("what is served is trusted by the bundle of the last look and of this one, and is valid", async () => {
    const steps = fc.array(fc.integer({ min: 60_000, max: 10 * dayMs }), { minLength: 20, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(steps, async (gaps) => {
        const store = aStore();
        let nowMs = startMs;
        let last = await ensureWebhookTrust({ store, clock: { now: () => nowMs }, serverName });
        for (const gap of gaps) {
          nowMs += gap;
          const next = await ensureWebhookTrust({ store, clock: { now: () => nowMs }, serverName });
          expect(isTrusted(next.certificate.chainPem, next)).toBe(true);
          // a look within the overlap must never meet a certificate that the bundle before it did not know
          if (gap < overlapMs) expect(isTrusted(next.certificate.chainPem, last)).toBe(true);
          const { validFromDate, validToDate } = new X509Certificate(next.certificate.chainPem);
          expect(validFromDate.getTime()).toBeLessThan(nowMs);
          expect(validToDate.getTime()).toBeGreaterThan(nowMs);
          last = next;
        }
      }),
      { numRuns: 4 },
    );
  });
});

test("the loop tells of each new trust once and ends with its signal", async () => {
  const stop = new AbortController();
  const told: WebhookTrust[] = [];
  let nowMs = startMs;
  const clock = {
    now: () => nowMs,
    sleep: (ms: number) => {
      nowMs += Math.max(ms, dayMs);
      if (nowMs < startMs + 40 * dayMs) return Promise.resolve();
      stop.abort(new Error("stop"));
      return Promise.reject(new Error("stop"));
    },
  };
  const loop = runWebhookCa({ store: aStore(), clock, serverName }, (trust) => told.push(trust), stop.signal);
  await expect(loop).rejects.toThrow("stop");
  // the first one, and the serving certificate's renewals at half of 30 days
  expect(told).toHaveLength(3);
  expect(new Set(told.map((trust) => trust.certificate.chainPem)).size).toBe(3);
});
