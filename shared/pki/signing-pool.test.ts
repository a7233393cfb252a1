import { createPublicKey } from "node:crypto";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { TrustDomain } from "../ids.ts";
import { generateKeyPem, spkiOfKeyPem } from "./key.ts";
import { leafNames, leafPattern } from "./leaf-pattern.ts";
import type { LeafJob, LeafSigner } from "./signing-batch.ts";
import { createSigningPool, type SigningPool } from "./signing-pool.ts";
import { workloadTemplate } from "./template.ts";
import { east, factsOf, hourMs, makeClusterCa, makeRoot, validFor, type TestCa } from "./testing/fleet-pki.ts";
import { buildRequest } from "./x509-builder.ts";

const burst = 8;
const trustDomain = "east.acme.mesh" as TrustDomain;

let ca: TestCa;
let pool: SigningPool;

beforeAll(async () => {
  ca = await makeClusterCa(await makeRoot(), east);
});
beforeEach(() => {
  pool = createSigningPool({ maxThreads: 2, burst, idleMs: 50 });
});
afterEach(() => pool.close());

const signerOf = ({ key, facts }: TestCa): LeafSigner => ({ key: key.local!, pattern: leafPattern("workload", facts) });

function jobFor(serviceAccount: string): LeafJob {
  const names = leafNames(workloadTemplate({ trustDomain, namespace: "shop", serviceAccount }, validFor(hourMs)))!;
  return { names, spkiDer: undefined };
}

async function leafFor(serviceAccount: string, signer = signerOf(ca)) {
  const made = await pool.makeLeaf(signer, jobFor(serviceAccount));
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return { facts: factsOf(made.value.der), keyPem: made.value.keyPem };
}

const many = (count: number) => {
  const signer = signerOf(ca);
  return Promise.all(Array.from({ length: count }, (_value, at) => leafFor(`account-${at}`, signer)));
};

async function threadsBecome(count: number): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (pool.threads() !== count) {
    if (performance.now() > deadline) throw new Error(`there are ${pool.threads()} threads, not ${count}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("a few leaves", () => {
  it("are made without a thread", async () => {
    expect((await many(burst)).map(({ facts }) => facts.names.uris[0])).toContain(
      "spiffe://east.acme.mesh/ns/shop/sa/account-3",
    );
    expect(pool.threads()).toBe(0);
  });
});

describe("a burst", () => {
  it("is signed by threads: every caller gets the leaf and the key that are its own", async () => {
    const making = many(500);
    await new Promise((resolve) => setImmediate(resolve));
    expect(pool.threads()).toBeGreaterThan(0);
    const made = await making;
    made.forEach(({ facts, keyPem }, at) => {
      expect(facts.names.uris).toEqual([`spiffe://east.acme.mesh/ns/shop/sa/account-${at}`]);
      expect(Buffer.from(facts.publicKey.spkiDer)).toEqual(Buffer.from(spkiOfKeyPem(keyPem)));
    });
    expect(new Set(made.map(({ facts }) => facts.serialHex)).size).toBe(500);
  });

  it("of several issuers and kinds of work is kept apart", async () => {
    const other = await makeClusterCa(await makeRoot(), east);
    const signers = [signerOf(ca), signerOf(other)] as const;
    const csr = await buildRequest(generateKeyPem());
    const mixed = await Promise.all(
      Array.from({ length: 60 }, async (_value, at) => {
        const request = await pool.checkRequest(at % 2 === 0 ? csr : new Uint8Array(5));
        const { facts } = await leafFor("cart", signers[at % 3 === 0 ? 1 : 0]);
        return [request?.signatureValid, facts.authorityKeyIdHex];
      }),
    );
    mixed.forEach((answer, at) => {
      expect(answer).toEqual([at % 2 === 0 ? true : undefined, (at % 3 === 0 ? other : ca).facts.subjectKeyIdHex]);
    });
  });

  it.each([
    ["by threads", burst],
    ["here", 100_000],
  ])("signed %s leaves the loop to others between", async (_where, burstOfPool) => {
    const signer = signerOf(ca);
    const own = createSigningPool({ burst: burstOfPool });
    try {
      let isOver = false;
      let turnsBetween = 0;
      const turn = () => {
        turnsBetween += 1;
        if (!isOver) setImmediate(turn);
      };
      setImmediate(turn);
      // as many as it takes, however fast the machine is: until others had five turns while some were signed and some were not
      for (let count = 100; turnsBetween < 5 && count <= 51_200; count *= 2) {
        turnsBetween = 0;
        await Promise.all(Array.from({ length: count }, (_value, at) => own.makeLeaf(signer, jobFor(`account-${at}`))));
      }
      isOver = true;
      expect(turnsBetween).toBeGreaterThanOrEqual(5);
    } finally {
      await own.close();
    }
  });

  it("ends its threads after it", async () => {
    await many(100);
    await threadsBecome(0);
    expect((await leafFor("cart")).facts.names.uris).toEqual(["spiffe://east.acme.mesh/ns/shop/sa/cart"]);
  });
});

describe("what cannot be made", () => {
  it("is told to its own caller only", async () => {
    const signer = signerOf(ca);
    const beyond = { ...jobFor("cart"), names: { ...jobFor("cart").names, notAfterMs: ca.facts.notAfterMs + 1000 } };
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_value, at) => pool.makeLeaf(signer, at === 20 ? beyond : jobFor("cart"))),
    );
    expect(answers.flatMap(({ ok }, at) => (ok ? [] : [at]))).toEqual([20]);
  });

  it("because the key is unusable fails what was under way, and nothing after it", async () => {
    const publicOnly = { ...signerOf(ca), key: createPublicKey(ca.keyPem) };
    const failed = await Promise.allSettled(
      Array.from({ length: 20 }, () => pool.makeLeaf(publicOnly, jobFor("cart"))),
    );
    expect(failed.every(({ status }) => status === "rejected")).toBe(true);
    expect((await many(50)).length).toBe(50);
  });

  it("because the pool was closed is rejected, also what was under way", async () => {
    const under = Array.from({ length: 200 }, () => pool.makeLeaf(signerOf(ca), jobFor("cart")));
    const settled = Promise.allSettled(under);
    await pool.close();
    expect((await settled).some(({ status }) => status === "rejected")).toBe(true);
    await expect(pool.makeLeaf(signerOf(ca), jobFor("cart"))).rejects.toThrow("signing has ended");
  });
});
