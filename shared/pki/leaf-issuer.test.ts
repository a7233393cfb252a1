import { execFileSync } from "node:child_process";
import { createPublicKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { TrustDomain } from "../ids.ts";
import { generateKeyPem, spkiOfKeyPem, type KeyProvider } from "./key.ts";
import { certificatePem } from "./pem.ts";
import { agentTemplate, workloadTemplate, type CertificateTemplate, type Validity } from "./template.ts";
import { east, factsOf, fleet, hourMs, makeClusterCa, makeRoot, validFor, type TestCa } from "./testing/fleet-pki.ts";
import { createLeafIssuer, type LeafIssuer } from "./leaf-issuer.ts";
import { finishLeaf, leafNames, leafPattern, tbsOf, type LeafKind } from "./leaf-pattern.ts";
import { createSigningPool } from "./signing-pool.ts";
import { buildCertificate } from "./x509-builder.ts";

const trustDomain = "east.acme.mesh" as TrustDomain;
const longLife: Validity = { notBeforeMs: Date.UTC(2020, 0), notAfterMs: Date.UTC(2060, 0) };

const pool = createSigningPool();

let [root, ca]: TestCa[] = [];
let leaves: LeafIssuer;

beforeAll(async () => {
  root = await makeRoot(longLife);
  ca = await makeClusterCa(root, east, longLife);
  leaves = issuerOf(ca);
});

function issuerOf({ key, facts }: TestCa, kind: LeafKind = "workload"): LeafIssuer {
  const issuer = createLeafIssuer({ kind, key, issuer: facts });
  if (!issuer.ok) throw new Error(JSON.stringify(issuer.error));
  return issuer.value;
}

async function issue(template: CertificateTemplate, spkiDer: Uint8Array, issuer = leaves): Promise<Uint8Array> {
  const issued = await issuer.issue(template, spkiDer, pool);
  if (!issued.ok) throw new Error(JSON.stringify(issued.error));
  return issued.value;
}

const workload = (serviceAccount: string, namespace = "shop", validity: Validity = validFor(hourMs)) =>
  workloadTemplate({ trustDomain, namespace, serviceAccount }, validity);

/** The signed part with the serial number, the one random field, set to zero. */
function signedPart(der: Uint8Array): string {
  const bytes = Buffer.from(der);
  // 30 82 LL LL (certificate) 30 82 LL LL (to be signed) a0 03 02 01 02 (version) 02 10 (serial, 16 octets)
  expect(bytes.subarray(8, 15).toString("hex")).toBe("a0030201020210");
  bytes.fill(0, 15, 31);
  return bytes.subarray(4, 8 + bytes.readUInt16BE(6)).toString("hex");
}

function isSignedBy(der: Uint8Array, { facts }: TestCa): boolean {
  const key = createPublicKey({ key: Buffer.from(facts.publicKey.spkiDer), format: "der", type: "spki" });
  return new X509Certificate(der).verify(key);
}

describe("a leaf of the hot path", () => {
  it("is byte for byte what @peculiar/x509 makes, except for serial and signature", async () => {
    const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$/);
    const account = fc.oneof(
      name,
      fc.tuple(name, name).map((parts) => parts.join(".")),
      fc.constant("x".repeat(250)),
    );
    const startMs = fc.integer({ min: Date.UTC(2024, 0) / 1000, max: Date.UTC(2059, 0) / 1000 });
    await fc.assert(
      fc.asyncProperty(account, name, startMs, fc.integer({ min: 1, max: 86_400 }), async (sa, ns, start, seconds) => {
        const validity = { notBeforeMs: start * 1000, notAfterMs: (start + seconds) * 1000 };
        const template = workload(sa, ns, validity);
        const spkiDer = spkiOfKeyPem(generateKeyPem());
        const fast = await issue(template, spkiDer);
        const slow = await buildCertificate(template, spkiDer, { key: ca!.key, certificate: ca!.facts });
        expect(signedPart(fast)).toBe(signedPart(slow));
        expect({ ...factsOf(fast), serialHex: "" }).toEqual({ ...factsOf(slow), serialHex: "" });
      }),
      { numRuns: 40 },
    );
  });

  it("of an agent too", async () => {
    const agents = issuerOf(root!, "agent");
    const template = agentTemplate(east, fleet, validFor(hourMs));
    const spkiDer = spkiOfKeyPem(generateKeyPem());
    const fast = await issue(template, spkiDer, agents);
    const slow = await buildCertificate(template, spkiDer, { key: root!.key, certificate: root!.facts });
    expect(signedPart(fast)).toBe(signedPart(slow));
  });

  it("is the same from a key that signs elsewhere", async () => {
    const elsewhere: KeyProvider = { spkiDer: ca!.key.spkiDer, sign: (data) => ca!.key.sign(data) };
    const issuer = issuerOf({ ...ca!, key: elsewhere });
    const spkiDer = spkiOfKeyPem(generateKeyPem());
    const [template, there] = [workload("cart"), await issue(workload("cart"), spkiDer)];
    const here = await issue(template, spkiDer, issuer);
    expect(signedPart(here)).toBe(signedPart(there));
    for (const der of [here, there]) expect(isSignedBy(der, ca!)).toBe(true);
    await expect(issuer.issueWithKey(template, pool)).rejects.toThrow("brought along");
  });

  it("comes with a key of its own where none is brought", async () => {
    const made = await leaves.issueWithKey(workload("cart"), pool);
    if (!made.ok) throw new Error(JSON.stringify(made.error));
    const { der, keyPem } = made.value;
    expect(Buffer.from(factsOf(der).publicKey.spkiDer)).toEqual(Buffer.from(spkiOfKeyPem(keyPem)));
    const other = await leaves.issueWithKey(workload("cart"), pool);
    expect(other.ok && other.value.keyPem).not.toBe(keyPem);
  });

  it("is accepted by the real openssl under -x509_strict, as client and as server", async () => {
    const folder = mkdtempSync(join(tmpdir(), "isthmus-leaf-"));
    const save = (name: string, der: Uint8Array) => {
      const path = join(folder, name);
      writeFileSync(path, certificatePem(der));
      return path;
    };
    try {
      const [anchor, middle] = [save("root.pem", root!.der), save("ca.pem", ca!.der)];
      const leaf = save("leaf.pem", await issue(workload("cart"), spkiOfKeyPem(generateKeyPem())));
      for (const purpose of ["sslclient", "sslserver"]) {
        const options = ["-x509_strict", "-purpose", purpose, "-CAfile", anchor, "-untrusted", middle, leaf];
        expect(execFileSync("openssl", ["verify", ...options], { encoding: "utf8" })).toContain("leaf.pem: OK");
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("has a serial of its own", async () => {
    const spkiDer = spkiOfKeyPem(generateKeyPem());
    const ders = await Promise.all(Array.from({ length: 30 }, () => issue(workload("cart"), spkiDer)));
    expect(new Set(ders.map((der) => factsOf(der).serialHex)).size).toBe(30);
  });
});

describe("the hot path refuses", () => {
  const spki = () => spkiOfKeyPem(generateKeyPem());

  it("a leaf that would outlive its issuer", async () => {
    const brief = issuerOf(await makeClusterCa(root!, east, validFor(hourMs)));
    expect((await brief.issue(workload("cart", "shop", validFor(2 * hourMs)), spki(), pool)).ok).toBe(false);
  });

  it("any other kind of certificate, and any other kind of key", async () => {
    const foreign: CertificateTemplate[] = [
      agentTemplate(east, fleet, validFor(hourMs)),
      { ...workload("cart"), uris: [] },
      { ...workload("cart"), uris: [...workload("cart").uris, "spiffe://east.acme.mesh/ns/shop/sa/admin"] },
      { ...workload("cart"), dnsNames: ["a.east.acme.mesh", "b.east.acme.mesh"] },
      { ...workload("cart"), ipAddresses: ["10.0.0.1"] },
      { ...workload("cart"), caPathLength: 0 },
    ];
    for (const template of foreign) expect((await leaves.issue(template, spki(), pool)).ok).toBe(false);
    expect((await leaves.issue(workload("cart"), spki().subarray(1), pool)).ok).toBe(false);
    expect((await leaves.issue(workload("cart"), new Uint8Array(91), pool)).ok).toBe(false);
  });

  it.each([
    ["on the first leaf of an issuer", 0],
    ["on a later one", 1],
  ])("names that are not written as asked, %s", async (_when, proven) => {
    const issuer = issuerOf(ca!);
    for (let at = 0; at < proven; at += 1) expect((await issuer.issue(workload("cart"), spki(), pool)).ok).toBe(true);
    // a character outside IA5 is cut to one octet by the writer: the reader must see that
    const template = { ...workload("cart"), uris: ["spiffe://east.acme.mesh/ns/shop/sa/c\u0142rt"] };
    expect((await issuer.issue(template, spki(), pool)).ok).toBe(false);
  });
});

describe("a pattern reads back what it makes", () => {
  const names = leafNames(workload("cart"))!;
  const spkiDer = spkiOfKeyPem(generateKeyPem());
  const spoil = (der: Uint8Array, at: number) => {
    const spoiled = Uint8Array.from(der);
    spoiled[at] = (spoiled[at] ?? 0) ^ 0x01;
    return spoiled;
  };

  it("and refuses it when any octet but those of serial and signature is another", async () => {
    const pattern = leafPattern("workload", ca!.facts);
    const tbs = tbsOf(pattern, names, spkiDer);
    if (!tbs.ok) throw new Error(JSON.stringify(tbs.error));
    const signature = await ca!.key.sign(tbs.value);
    expect(finishLeaf(pattern, names, spkiDer, { tbs: tbs.value, signature }).ok).toBe(true);
    const headerBytes = 4;
    const isSerial = (at: number) => at >= headerBytes + 7 && at < headerBytes + 7 + 16;
    for (let at = 0; at < tbs.value.length; at += 1) {
      if (isSerial(at)) continue;
      const spoiled = finishLeaf(pattern, names, spkiDer, { tbs: spoil(tbs.value, at), signature });
      expect([at, spoiled.ok]).toEqual([at, false]);
    }
  });
});
