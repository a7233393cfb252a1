// The operator's half is the real openssl, with the commands that docs/issuers.md gives.
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UserError } from "../../shared/errors.ts";
import type { ClusterName, FleetDomain, TrustDomain } from "../../shared/ids.ts";
import { checkReceived } from "../../shared/pki/chain.ts";
import { createSigningPool } from "../../shared/pki/signing-pool.ts";
import { generateKeyPem, spkiOfKeyPem } from "../../shared/pki/key.ts";
import { certificatePem, parseChainPem } from "../../shared/pki/pem.ts";
import { clusterCaTemplate, workloadTemplate } from "../../shared/pki/template.ts";
import { factsOf, mint, validFor, type TestCa } from "../../shared/pki/testing/fleet-pki.ts";
import { keyProviderFromPem } from "../../shared/pki/key.ts";
import { issuingCas, type IssuingCaSource, type UpstreamSigner } from "./issuing-ca.ts";
import { createKeyStore, type KeyStore } from "./key-store.ts";
import { opensslCa, type OpensslCa } from "./testing/openssl-ca.ts";

const fleetDomain = "acme.mesh" as FleetDomain;
const east = "east" as ClusterName;
const dayMs = 24 * 3_600_000;
const id = "1";

let folder: string;
let keys: KeyStore;
let operator: OpensslCa;
let nowMs: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-issuing-"));
  keys = await createKeyStore({ dataDir: folder, fleetDomain, place: {} });
  operator = opensslCa(folder);
  nowMs = Date.now() + 60_000; // what openssl signs during a test begins before that
});
afterEach(() => rm(folder, { recursive: true }));

function sourceWith(upstream?: UpstreamSigner): IssuingCaSource {
  return issuingCas({
    dataDir: folder,
    keys,
    fleetDomain,
    now: () => nowMs,
    leastLifeMs: 21 * dayMs,
    pool: createSigningPool(),
    upstream,
  });
}

const newRoot = () => ({ id, fleet: fleetDomain, nowMs, ttlMs: 365 * dayMs });

/** A request that waits for its root. */
async function prepared(): Promise<IssuingCaSource> {
  const source = sourceWith();
  await source.prepare(newRoot());
  return source;
}

async function clusterCaBelow(source: IssuingCaSource, rootDer: Uint8Array) {
  const keyPem = generateKeyPem();
  const issuer = await source.issuer(id, factsOf(rootDer));
  const issued = await issuer.issue({
    spkiDer: spkiOfKeyPem(keyPem),
    nowMs,
    ttlMs: 7 * dayMs,
    template: (validity) => clusterCaTemplate(east, fleetDomain, validity),
  });
  if (!issued.ok) throw new Error(JSON.stringify(issued.error));
  return { keyPem, chainDer: issued.value };
}

describe("an offline root, signed with the documented commands", () => {
  it("carries a fleet: members accept what is below it, and so does openssl -x509_strict", async () => {
    const source = await prepared();
    const pem = operator.sign(source.requestFile(id));
    const { rootDer, issuing } = await source.importChain(id, pem);
    expect(issuing).toMatchObject({ ca: true, pathLength: 1 });
    const { keyPem, chainDer } = await clusterCaBelow(source, rootDer);
    expect(chainDer).toHaveLength(2);
    const received = checkReceived({
      chainDer,
      rootsDer: [rootDer],
      spkiDer: spkiOfKeyPem(keyPem),
      template: (validity) => clusterCaTemplate(east, fleetDomain, validity),
    });
    expect(received.ok).toBe(true);

    const ca: TestCa = { keyPem, key: keyProviderFromPem(keyPem), der: chainDer[0]!, facts: factsOf(chainDer[0]!) };
    const name = { trustDomain: "east.acme.mesh" as TrustDomain, namespace: "shop", serviceAccount: "cart" };
    const leaf = await mint(ca, workloadTemplate(name, validFor(3_600_000, nowMs)));
    await writeFile(join(folder, "leaf.pem"), certificatePem(leaf.der));
    await writeFile(join(folder, "below.pem"), chainDer.map(certificatePem).join(""));
    await writeFile(join(folder, "anchor.pem"), certificatePem(rootDer));
    for (const purpose of ["sslclient", "sslserver"]) {
      const args = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "anchor.pem", "-untrusted", "below.pem"];
      expect(execFileSync("openssl", [...args, "leaf.pem"], { cwd: folder, encoding: "utf8" })).toContain("OK");
    }
  });

  it("asks for what it needs: a CA of path length 1 with the fleet's identity", async () => {
    const source = await prepared();
    const args = ["req", "-in", source.requestFile(id), "-noout", "-text", "-verify"];
    const text = execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    expect(text).toContain("CA:TRUE, pathlen:1");
    expect(text).toContain("URI:spiffe://acme.mesh");
    expect(text).toContain("Certificate Sign, CRL Sign");
  });

  it("keeps its request and key when it is prepared again", async () => {
    const source = await prepared();
    const before = await readFile(source.requestFile(id), "utf8");
    await source.prepare(newRoot());
    expect(await readFile(source.requestFile(id), "utf8")).toBe(before);
  });

  it("may have an intermediate between root and issuing CA", async () => {
    const source = await prepared();
    const { rootDer } = await source.importChain(id, operator.signBelowIntermediate(source.requestFile(id)));
    expect((await clusterCaBelow(source, rootDer)).chainDer).toHaveLength(3);
  });

  it("is renewed by another import below the same root, never by one below another", async () => {
    const source = await prepared();
    await source.importChain(id, operator.sign(source.requestFile(id)));
    await source.importChain(id, operator.sign(source.requestFile(id)));
    const other = opensslCa(await mkdtemp(join(folder, "other-")));
    await expect(source.importChain(id, other.sign(source.requestFile(id)))).rejects.toThrow("ends at another root");
  });

  it("forgets key, request and chain when it is removed", async () => {
    const source = await prepared();
    await source.remove(id);
    await source.remove(id);
    await expect(source.issuer(id, factsOf(operator.rootDer()))).rejects.toMatchObject({ code: "ISTHMUS_DATA_FOLDER" });
  });
});

describe("a chain that this fleet could not live under is refused, and nothing of it is kept", () => {
  it.each<[string, (request: string) => string, string]>([
    [
      "a root of path length 1",
      (request) => opensslCa(folder, { rootPathLength: 1 }).sign(request),
      "root: its pathlen is 1",
    ],
    [
      "an issuing CA of path length 0",
      (request) => operator.sign(request, { pathLength: 0 }),
      "issuing CA: its pathlen is 0",
    ],
    ["an end entity", (request) => operator.sign(request, { basicConstraints: "critical,CA:FALSE" }), "it is no CA"],
    [
      "one that may sign no certificates",
      (request) => operator.sign(request, { keyUsage: "critical,cRLSign" }),
      "lacks keyCertSign",
    ],
    [
      "one for TLS servers only",
      (request) => operator.sign(request, { extra: ["extendedKeyUsage=serverAuth"] }),
      "forbids serverAuth or clientAuth",
    ],
    [
      "another domain's constraints",
      (request) => operator.sign(request, { extra: ["nameConstraints=critical,permitted;URI:.other.mesh"] }),
      "nameConstraints exclude names of this fleet",
    ],
    [
      "constraints on DNS names",
      (request) => operator.sign(request, { extra: ["nameConstraints=critical,permitted;DNS:acme.mesh"] }),
      "nameConstraints exclude",
    ],
    [
      "sub-domains without the domain itself",
      (request) => operator.sign(request, { extra: ["nameConstraints=critical,permitted;URI:.acme.mesh"] }),
      "nameConstraints exclude",
    ],
    [
      "a critical extension that nobody knows",
      (request) => operator.sign(request, { extra: ["1.2.3.4=critical,ASN1:NULL"] }),
      "critical extensions that Envoy does not know",
    ],
    ["one week of life", (request) => operator.sign(request, { days: 7 }), "which is too soon"],
    [
      "another fleet's identity",
      (request) => operator.sign(request, { subjectAltName: "URI:spiffe://other.mesh" }),
      "claims another identity",
    ],
    ["another key", () => operator.signOtherKey(), "certifies another key"],
    ["no root", (request) => firstOf(operator.sign(request)), "1 certificates; wanted"],
    ["certificates in the wrong order", (request) => reversed(operator.sign(request)), "not signed by the next"],
    [
      "another root's signature",
      (request) => firstOf(operator.sign(request)) + certificatePem(opensslCa(folder).rootDer()),
      "not signed by the next",
    ],
    [
      "an intermediate in the root's place",
      (request) => withoutRoot(operator.signBelowIntermediate(request)),
      "does not sign itself",
    ],
    ["no certificate", () => "nonsense", "no certificate found"],
  ])("%s", async (_what, make, message) => {
    const source = await prepared();
    const failed = source.importChain(id, make(source.requestFile(id)));
    await expect(failed).rejects.toMatchObject({ code: "ISTHMUS_ISSUING_CHAIN" });
    await expect(failed).rejects.toThrow(message);
    await expect(readFile(join(folder, "roots", `${id}.pem`))).rejects.toThrow("ENOENT");
  });

  it("permitting exactly the fleet's identities is good", async () => {
    const source = await prepared();
    const extra = ["nameConstraints=critical,permitted;URI:acme.mesh,permitted;URI:.acme.mesh"];
    await source.importChain(id, operator.sign(source.requestFile(id), { extra }));
  });
});

function certificatesOf(pem: string): readonly string[] {
  const chain = parseChainPem(pem);
  return chain.ok ? chain.value.map(certificatePem) : [];
}
const firstOf = (pem: string) => certificatesOf(pem)[0]!;
const reversed = (pem: string) => certificatesOf(pem).toReversed().join("");
const withoutRoot = (pem: string) => certificatesOf(pem).slice(0, -1).join("");

describe("an upstream that signs by itself", () => {
  let asked: number;
  let isAway: boolean;
  const upstream: UpstreamSigner = {
    sign: (requestPem) => {
      asked += 1;
      if (isAway) return Promise.reject(new UserError("ISTHMUS_UPSTREAM", "away"));
      return Promise.resolve(operator.signText(requestPem, { days: 90 }));
    },
  };
  beforeEach(() => {
    asked = 0;
    isAway = false;
  });

  it("is asked when the root is prepared, and again at half of the issuing CA's life", async () => {
    const source = sourceWith(upstream);
    await source.prepare(newRoot());
    expect(asked).toBe(1);
    const rootDer = operator.rootDer();
    const issuer = await source.issuer(id, factsOf(rootDer));
    const issue = () =>
      issuer.issue({
        spkiDer: spkiOfKeyPem(generateKeyPem()),
        nowMs,
        ttlMs: dayMs,
        template: (validity) => clusterCaTemplate(east, fleetDomain, validity),
      });
    expect((await issue()).ok).toBe(true);
    expect(asked).toBe(1);
    nowMs += 50 * dayMs;
    isAway = true;
    expect((await issue()).ok).toBe(true); // the held one signs on
    expect((await issue()).ok).toBe(true);
    expect(asked).toBe(2); // not with every certificate
    nowMs += 60 * dayMs;
    await expect(issue()).rejects.toMatchObject({ code: "ISTHMUS_UPSTREAM" });
  });
});
