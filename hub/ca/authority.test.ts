import { execFileSync } from "node:child_process";
import { chmod, copyFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../../shared/clock.ts";
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { isBundleSigned } from "../../shared/pki/bundle-signature.ts";
import { checkReceived } from "../../shared/pki/chain.ts";
import { generateKeyPem, spkiOfKeyPem } from "../../shared/pki/key.ts";
import { parseChainPem } from "../../shared/pki/pem.ts";
import { agentTemplate, clusterCaTemplate } from "../../shared/pki/template.ts";
import { buildRequest } from "../../shared/pki/x509-builder.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import { initAuthority, openAuthority, type Authority, type AuthorityOptions } from "./authority.ts";

const fleetDomain = "acme.mesh" as FleetDomain;
const [east, west] = ["east" as ClusterName, "west" as ClusterName];
const serverNames = { dnsNames: ["hub.example.com"], ipAddresses: ["127.0.0.1", "::1"] };
const dayMs = 24 * 3_600_000;

let dataDir: string;
let nowMs: number;
const clock: Clock = { now: () => nowMs, sleep: () => Promise.reject(new Error("the authority does not wait")) };

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "isthmus-authority-"));
  nowMs = Date.now();
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const init = (rootTtlMs?: number) =>
  initAuthority(dataDir, { fleetDomain, serverNames, clock, ...(rootTtlMs === undefined ? {} : { rootTtlMs }) });
const open = (options?: AuthorityOptions) => openAuthority(dataDir, clock, options);

function valueOf<T>(result: { ok: true; value: T } | { ok: false; error: unknown }): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

const factsOf = (der: Uint8Array | undefined) => valueOf(parseCertificate(der!));

function rootsOf(authority: Authority): readonly Uint8Array[] {
  return valueOf(parseChainPem(authority.rootsPem()));
}

describe("the authority's data folder", () => {
  it("holds nothing that others may read, and no key in the clear", async () => {
    await init();
    const files = await readdir(dataDir, { recursive: true, withFileTypes: true });
    const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
    expect(paths.length).toBeGreaterThanOrEqual(7);
    for (const path of paths) {
      expect([path, (await stat(path)).mode & 0o077]).toEqual([path, 0]);
      expect(await readFile(path, "utf8")).not.toContain("PRIVATE KEY");
    }
  });

  it("is made once", async () => {
    await init();
    await expect(init()).rejects.toMatchObject({ code: "ISTHMUS_FLEET_EXISTS" });
  });

  it("without a fleet says what to run", async () => {
    await expect(open()).rejects.toMatchObject({ code: "ISTHMUS_NOT_INITIALISED", hint: "run: isthmus init" });
  });

  it.each(["fleet.json", "kek", "keys", "roots", "server.pem"])("is refused when others may read %s", async (name) => {
    await init();
    const inside = await readdir(join(dataDir, name)).catch(() => undefined);
    const path = inside === undefined ? join(dataDir, name) : join(dataDir, name, inside[0]!);
    await chmod(path, 0o644);
    await expect(open()).rejects.toMatchObject({ code: "ISTHMUS_FILE_MODE" });
  });

  it("is refused when a sealed key lies in another one's place", async () => {
    await init();
    const keys = (await readdir(join(dataDir, "keys"))).sort();
    const [bundle, root] = keys.map((name) => join(dataDir, "keys", name));
    await rm(root!);
    await copyFile(bundle!, root!);
    await expect(open()).rejects.toMatchObject({ code: "ISTHMUS_KEY_SEAL" });
  });

  it("is refused with another key-encryption key", async () => {
    await init();
    await rm(join(dataDir, "kek"));
    await writeFile(join(dataDir, "kek"), Buffer.alloc(32, 7).toString("base64url"), { mode: 0o400 });
    await expect(open()).rejects.toMatchObject({ code: "ISTHMUS_KEY_SEAL" });
  });

  it("is refused when fleet.json was cut off", async () => {
    await init();
    const path = join(dataDir, "fleet.json");
    await writeFile(path, (await readFile(path, "utf8")).slice(0, 40));
    await expect(open()).rejects.toMatchObject({ code: "ISTHMUS_FLEET_FILE" });
  });
});

describe("the hub's own certificate", () => {
  it("keeps its key, so that pins in tokens outlive restarts and renewals", async () => {
    const first = (await init()).server();
    const again = await open();
    expect(again.server()).toEqual(first);
    nowMs += 50 * dayMs;
    expect(await again.renewServer()).toBe(true);
    expect(again.server().chainPem).not.toBe(first.chainPem);
    expect(again.server().pin).toBe(first.pin);
    expect(await again.renewServer()).toBe(false);
    expect((await open()).server()).toEqual(again.server());
  });

  it("names the hub by URI, and the given DNS names and addresses", async () => {
    const authority = await init();
    const { names } = factsOf(valueOf(parseChainPem(authority.server().chainPem))[0]);
    expect(names).toMatchObject({ uris: ["spiffe://acme.mesh/hub"], ...serverNames });
  });

  it("is made anew when its file is damaged", async () => {
    await init();
    await writeFile(join(dataDir, "server.pem"), "nonsense");
    expect((await open()).server().chainPem).toContain("BEGIN CERTIFICATE");
  });
});

describe("what the authority signs", () => {
  it("is an agent's and a cluster CA's certificate of exactly the profile, ending at its root", async () => {
    const authority = await init();
    const rootsDer = rootsOf(authority);
    const [agentKey, caKey] = [generateKeyPem(), generateKeyPem()];
    const agentDer = valueOf(await authority.issueAgent(east, await buildRequest(agentKey)));
    const caDer = valueOf(await authority.issueClusterCa(east, await buildRequest(caKey)));
    const agent = checkReceived({
      chainDer: agentDer,
      rootsDer,
      spkiDer: spkiOfKeyPem(agentKey),
      template: (validity) => agentTemplate(east, fleetDomain, validity),
    });
    const ca = checkReceived({
      chainDer: caDer,
      rootsDer,
      spkiDer: spkiOfKeyPem(caKey),
      template: (validity) => clusterCaTemplate(east, fleetDomain, validity),
    });
    expect([agent.ok, ca.ok]).toEqual([true, true]);
    expect(valueOf(ca).notAfterMs - nowMs).toBeGreaterThan(6 * dayMs);
  });

  it("never outlives the root, and an ended root signs nothing", async () => {
    const authority = await init(2 * dayMs);
    const rootEndMs = factsOf(rootsOf(authority)[0]).notAfterMs;
    const [der] = valueOf(await authority.issueClusterCa(east, await buildRequest(generateKeyPem())));
    expect(factsOf(der).notAfterMs).toBe(rootEndMs);
    nowMs = rootEndMs;
    expect(await authority.issueClusterCa(east, await buildRequest(generateKeyPem()))).toMatchObject({
      ok: false,
      error: [{ code: "ISTHMUS_ISSUER_EXPIRED" }],
    });
  });

  it("is never the same key for two clusters", async () => {
    await init();
    const owners = new Map<string, string>();
    const bindKey = (pin: string, cluster: string) => {
      if (!owners.has(pin)) owners.set(pin, cluster);
      return Promise.resolve(owners.get(pin)!);
    };
    const authority = await open({ bindKey });
    const csr = await buildRequest(generateKeyPem());
    expect((await authority.issueAgent(east, csr)).ok).toBe(true);
    expect((await authority.issueAgent(east, csr)).ok).toBe(true);
    expect(await authority.issueClusterCa(west, csr)).toMatchObject({
      ok: false,
      error: [{ code: "ISTHMUS_KEY_OF_OTHER_CLUSTER" }],
    });
  });

  it("has a serial of its own each time", async () => {
    const authority = await init();
    const csr = await buildRequest(generateKeyPem());
    const serials = new Set<string>();
    for (let at = 0; at < 20; at += 1) {
      const [der] = valueOf(await authority.issueAgent(east, csr));
      serials.add(factsOf(der).serialHex);
    }
    expect(serials.size).toBe(20);
  });

  it("states its roots in a signed bundle", async () => {
    const authority = await init();
    const bundle = authority.bundle();
    expect(bundle).toMatchObject({ sequence: 1, fleetDomain, revokedTrustDomains: [] });
    expect(bundle.rootsDer.map((der) => Buffer.from(der))).toEqual(rootsOf(authority).map((der) => Buffer.from(der)));
    expect(isBundleSigned(bundle)).toBe(true);
    expect(Buffer.from((await open()).bundle().signerSpkiDer)).toEqual(Buffer.from(bundle.signerSpkiDer));
  });
});

/** A request by the real openssl, with whatever names and extensions it is told to ask for. */
function opensslRequest(key: readonly string[], extra: readonly string[] = []): Uint8Array {
  const keyFile = join(dataDir, "asked.key");
  execFileSync("openssl", ["genpkey", ...key, "-out", keyFile], { stdio: "pipe" });
  const args = ["req", "-new", "-key", keyFile, "-outform", "DER", "-subj", "/O=evil/CN=west", ...extra];
  return new Uint8Array(execFileSync("openssl", args, { stdio: "pipe" }));
}

const p256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

describe("requests that ask for more than they may have", () => {
  it.each<[string, readonly string[]]>([
    ["another cluster's name", ["-addext", "subjectAltName=URI:spiffe://acme.mesh/agent/west"]],
    ["two names", ["-addext", "subjectAltName=URI:spiffe://acme.mesh/agent/east,URI:spiffe://acme.mesh/hub"]],
    ["a DNS name and an address", ["-addext", "subjectAltName=DNS:hub.acme.mesh,IP:10.0.0.1"]],
    ["to be a CA", ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign"]],
    ["to be a server", ["-addext", "extendedKeyUsage=serverAuth"]],
    ["wide constraints", ["-addext", "nameConstraints=permitted;URI:.mesh"]],
  ])("%s: get the names of the authenticated cluster and nothing else", async (_what, extra) => {
    const authority = await init();
    const request = opensslRequest(p256, extra);
    const agent = factsOf(valueOf(await authority.issueAgent(east, request))[0]);
    expect(agent).toMatchObject({ ca: false, extendedKeyUsages: ["clientAuth"], keyUsages: ["digitalSignature"] });
    expect(agent.names).toMatchObject({ uris: ["spiffe://acme.mesh/agent/east"], dnsNames: [], ipAddresses: [] });
    const ca = factsOf(valueOf(await authority.issueClusterCa(east, request))[0]);
    expect(ca.constraints?.permitted).toMatchObject({ uris: ["east.acme.mesh"], dnsNames: ["east.acme.mesh"] });
    expect(ca.names.uris).toEqual(["spiffe://east.acme.mesh"]);
  });

  it.each<[string, readonly string[]]>([
    ["P-384", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]],
    ["RSA with 2048 bits", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]],
  ])("%s is a key that is signed", async (_what, key) => {
    const authority = await init();
    expect((await authority.issueAgent(east, opensslRequest(key))).ok).toBe(true);
  });

  it.each<[string, readonly string[]]>([
    ["RSA with 1024 bits", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]],
    ["P-521", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]],
    ["secp256k1", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]],
    ["Ed25519", ["-algorithm", "ED25519"]],
  ])("%s is a key that is refused", async (_what, key) => {
    const authority = await init();
    expect(await authority.issueAgent(east, opensslRequest(key))).toMatchObject({ ok: false });
  });

  it("a request signed with SHA-1 proves nothing", async () => {
    const authority = await init();
    const refused = await authority.issueAgent(east, opensslRequest(p256, ["-sha1"]));
    expect(refused).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_CSR_PROOF" }] });
  });

  it("somebody else's public key under one's own signature is refused", async () => {
    const authority = await init();
    const [mine, theirs] = [await buildRequest(generateKeyPem()), generateKeyPem()];
    const swapped = Buffer.from(mine);
    const own = swapped.indexOf(Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107", "hex"));
    Buffer.from(spkiOfKeyPem(theirs)).copy(swapped, own);
    const refused = await authority.issueAgent(east, swapped);
    expect(refused).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_CSR_PROOF" }] });
  });

  it("any one byte of a request changed is refused, or changes nothing that is issued", async () => {
    const authority = await init();
    const keyPem = generateKeyPem();
    const request = await buildRequest(keyPem);
    for (let at = 0; at < request.length; at += 7) {
      const changed = Uint8Array.from(request);
      changed[at] = (changed[at] ?? 0) ^ 0x41;
      const issued = await authority.issueAgent(east, changed);
      if (!issued.ok) continue;
      expect(Buffer.from(factsOf(issued.value[0]).publicKey.spkiDer)).toEqual(Buffer.from(spkiOfKeyPem(keyPem)));
    }
  });

  it.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array()],
    ["a mebibyte", new Uint8Array(1024 * 1024)],
    ["noise", Uint8Array.from({ length: 300 }, (_value, at) => (at * 89) % 251)],
    ["deeply nested ASN.1", Uint8Array.from({ length: 16_000 }, (_value, at) => (at % 2 === 0 ? 0x30 : 0x80))],
  ])("%s is refused", async (_what, bytes) => {
    const authority = await init();
    expect(await authority.issueAgent(east, bytes)).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_X509" }] });
  });
});
