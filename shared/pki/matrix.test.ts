// What a stolen cluster CA can do: certificates minted with its real key, shown to OpenSSL (-x509_strict), to Node's TLS and to
// our own check. The rule of the table: what claims a foreign identity is accepted by none of the TLS stacks.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClusterName, TrustDomain } from "../ids.ts";
import { noNames, type NameConstraints } from "./certificate.ts";
import { certificatePem } from "./pem.ts";
import { agentTemplate, clusterCaTemplate, workloadTemplate, type CertificateTemplate } from "./template.ts";
import {
  east,
  factsOf,
  fleet,
  hourMs,
  makeCa,
  makeClusterCa,
  makeRoot,
  mint,
  validFor,
  type TestCa,
  type TestLeaf,
} from "./testing/fleet-pki.ts";
import { checkCertificate } from "./validate.ts";

const trustDomain = "east.acme.mesh" as TrustDomain;
const honest = workloadTemplate({ trustDomain, namespace: "shop", serviceAccount: "cart" }, validFor(hourMs));
const own = "spiffe://east.acme.mesh/ns/shop/sa/cart";
const foreign = "spiffe://west.acme.mesh/ns/shop/sa/cart";

interface Case {
  readonly name: string;
  readonly change: Partial<CertificateTemplate>;
  /** "ok" or OpenSSL's verification error. */
  readonly openssl: string;
  readonly node: boolean;
  /** Our own check against the profile, without any issuer's say. */
  readonly ours: boolean;
}

const uri = (value: string): Partial<CertificateTemplate> => ({ uris: [value], dnsNames: [] });

/** Claims of an identity that is not the cluster's. */
const foreignClaims: readonly Case[] = [
  { name: "another cluster's URI", change: uri(foreign), openssl: "47", node: false, ours: false },
  { name: "own and foreign URI", change: { uris: [own, foreign] }, openssl: "47", node: false, ours: false },
  { name: "foreign and own URI", change: { uris: [foreign, own] }, openssl: "47", node: false, ours: false },
  { name: "the hub", change: uri("spiffe://acme.mesh/hub"), openssl: "47", node: false, ours: false },
  { name: "an agent", change: uri("spiffe://acme.mesh/agent/west"), openssl: "47", node: false, ours: false },
  { name: "the fleet's root", change: uri("spiffe://acme.mesh"), openssl: "47", node: false, ours: false },
  {
    name: "a sub-domain of its own",
    change: uri("spiffe://x.east.acme.mesh/ns/a/sa/b"),
    openssl: "47",
    node: false,
    ours: false,
  },
  {
    name: "a domain that ends alike",
    change: uri("spiffe://notmesh/east.acme.mesh"),
    openssl: "47",
    node: false,
    ours: false,
  },
  {
    name: "foreign host behind user info",
    change: uri("spiffe://east.acme.mesh@west.acme.mesh/ns/a/sa/b"),
    openssl: "47",
    node: false,
    ours: false,
  },
  { name: "a URI without host", change: uri("spiffe:///ns/shop/sa/cart"), openssl: "53", node: false, ours: false },
  {
    name: "own URI, foreign DNS name",
    change: { dnsNames: ["cart.shop.west.acme.mesh"] },
    openssl: "47",
    node: false,
    ours: false,
  },
  {
    name: "own URI, the hub's DNS name",
    change: { dnsNames: ["hub.acme.mesh"] },
    openssl: "47",
    node: false,
    ours: false,
  },
  {
    name: "own URI, a public DNS name",
    change: { dnsNames: ["www.example.com"] },
    openssl: "47",
    node: false,
    ours: false,
  },
  { name: "own URI, a wildcard", change: { dnsNames: ["*.acme.mesh"] }, openssl: "47", node: false, ours: false },
  {
    name: "foreign DNS name only",
    change: { uris: [], dnsNames: ["cart.shop.west.acme.mesh"] },
    openssl: "47",
    node: false,
    ours: false,
  },
  { name: "own URI, an IPv4 address", change: { ipAddresses: ["10.0.0.1"] }, openssl: "48", node: false, ours: false },
  { name: "own URI, an IPv6 address", change: { ipAddresses: ["fd00::1"] }, openssl: "48", node: false, ours: false },
];

/** Own identity, wrong form: TLS libraries let much of it pass, so our own check may not. */
const wrongForms: readonly Case[] = [
  { name: "two URIs, both its own", change: { uris: [own, `${own}2`] }, openssl: "ok", node: true, ours: false },
  {
    name: "a dot-dot segment",
    change: uri("spiffe://east.acme.mesh/../ns/shop/sa/cart"),
    openssl: "ok",
    node: true,
    ours: false,
  },
  {
    name: "an upper-case host",
    change: uri("spiffe://EAST.acme.mesh/ns/shop/sa/cart"),
    openssl: "ok",
    node: true,
    ours: false,
  },
  { name: "a port", change: uri("spiffe://east.acme.mesh:80/ns/shop/sa/cart"), openssl: "ok", node: true, ours: false },
  {
    name: "another account of its own",
    change: uri("spiffe://east.acme.mesh/ns/shop/sa/admin"),
    openssl: "ok",
    node: true,
    ours: false,
  },
  {
    name: "a CA under a CA that may sign none",
    change: { caPathLength: 0, keyUsages: ["keyCertSign", "cRLSign"] },
    openssl: "84",
    node: false,
    ours: false,
  },
  {
    name: "a leaf that may sign",
    change: { keyUsages: ["digitalSignature", "keyCertSign"] },
    openssl: "82",
    node: true,
    ours: false,
  },
  { name: "for servers only", change: { extendedKeyUsages: ["serverAuth"] }, openssl: "26", node: false, ours: false },
  { name: "ended", change: { validity: validFor(-60_000) }, openssl: "10", node: false, ours: false },
  {
    name: "not yet valid",
    change: {
      validity: { notBeforeMs: validFor(0).notBeforeMs + 2 * hourMs, notAfterMs: validFor(3 * hourMs).notAfterMs },
    },
    openssl: "9",
    node: false,
    ours: false,
  },
  {
    name: "longer than its issuer",
    change: { validity: validFor(10_000 * hourMs) },
    openssl: "ok",
    node: true,
    ours: false,
  },
];

function run(args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile("openssl", args, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

describe("what a stolen cluster CA can mint", () => {
  let folder: string;
  let [root, ca]: TestCa[] = [];
  let nodeAccepts: (chain: readonly Uint8Array[], keyPem: string) => Promise<boolean>;
  let close: () => void;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isthmus-matrix-"));
    root = await makeRoot();
    ca = await makeClusterCa(root, east);
    await writeFile(join(folder, "root.pem"), certificatePem(root.der));
    ({ nodeAccepts, close } = await startTlsJudge(root));
  });

  afterAll(async () => {
    close();
    await rm(folder, { recursive: true, force: true });
  });

  const openssl = async (leaf: Uint8Array, chain: readonly Uint8Array[]) => {
    await writeFile(join(folder, "leaf.pem"), certificatePem(leaf));
    await writeFile(join(folder, "chain.pem"), chain.map(certificatePem).join(""));
    const files = ["root.pem", "chain.pem", "leaf.pem"].map((name) => join(folder, name));
    const [anchor = "", untrusted = "", subject = ""] = files;
    const options = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", anchor, "-untrusted", untrusted];
    const answer = await run([...options, subject]);
    return answer.includes(": OK") ? "ok" : (/error (\d+) at/.exec(answer)?.[1] ?? answer);
  };

  const judge = async (leaf: TestLeaf, issuers: readonly TestCa[] = [ca!]) => {
    const chain = issuers.map((issuer) => issuer.der);
    return {
      openssl: await openssl(leaf.der, chain),
      node: await nodeAccepts([leaf.der, ...chain], leaf.keyPem),
      ours: checkCertificate(factsOf(leaf.der), honest, issuers[0]!.facts).length === 0,
    };
  };

  it("the honest leaf is accepted by all", async () => {
    expect(await judge(await mint(ca!, honest))).toEqual({ openssl: "ok", node: true, ours: true });
  });

  it.each(foreignClaims)("$name: refused by all", async ({ change, openssl: code, node, ours }) => {
    expect([code === "ok", node, ours]).toEqual([false, false, false]); // the rule of the table
    expect(await judge(await mint(ca!, { ...honest, ...change }))).toEqual({ openssl: code, node, ours });
  });

  it.each(wrongForms)("$name: refused by our check at least", async ({ change, openssl: code, node, ours }) => {
    expect(await judge(await mint(ca!, { ...honest, ...change }))).toEqual({ openssl: code, node, ours });
  });

  const subCa = (name: ClusterName, constraints: NameConstraints | undefined) => {
    const template = clusterCaTemplate(name, fleet, validFor(hourMs));
    return makeCa({ ...template, uris: ["spiffe://east.acme.mesh"], constraints }, ca);
  };

  it("a CA below the cluster CA can sign nothing: the path is too long", async () => {
    const sub = await subCa("sub" as ClusterName, undefined);
    const verdict = await judge(await mint(sub, honest), [sub, ca!]);
    expect([verdict.openssl, verdict.node]).toEqual(["25", false]);
  });

  it("one that takes its issuer's name does not count in the path (RFC 5280 6.1.4 l), yet inherits the constraints", async () => {
    const sub = await subCa(east, undefined);
    const verdicts = [
      await judge(await mint(sub, honest), [sub, ca!]),
      await judge(await mint(sub, { ...honest, ...uri(foreign) }), [sub, ca!]),
    ];
    expect(verdicts.map(({ openssl: code, node }) => [code, node])).toEqual([
      ["ok", true],
      ["47", false],
    ]);
  });

  it("the control: without constraints a foreign URI would pass, so it is they that refuse it", async () => {
    const free = await makeCa({ ...clusterCaTemplate(east, fleet, validFor(hourMs)), constraints: undefined }, root);
    const verdict = await judge(await mint(free, { ...honest, ...uri(foreign) }), [free]);
    expect(verdict).toEqual({ openssl: "ok", node: true, ours: false });
  });

  it("an agent's certificate is for clients only and a workload's root of trust refuses it as a server", async () => {
    const agent = await mint(root!, agentTemplate(east, fleet, validFor(hourMs)));
    await writeFile(join(folder, "agent.pem"), certificatePem(agent.der));
    const options = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", join(folder, "root.pem")];
    expect(await run([...options, join(folder, "agent.pem")])).toContain("error 26");
  });
});

describe("our check of an issued cluster CA", () => {
  const swapped = ({ permitted, excluded }: NameConstraints): NameConstraints => ({
    permitted: excluded,
    excluded: permitted,
  });
  const wanted = clusterCaTemplate(east, fleet, validFor(hourMs));
  const constraints = wanted.constraints!;
  const faults: readonly [string, Partial<CertificateTemplate>][] = [
    ["permitted names written as excluded ones (cert-manager #7832)", { constraints: swapped(constraints) }],
    ["constraints left out", { constraints: undefined }],
    ["another cluster's name", clusterCaTemplate("west" as ClusterName, fleet, wanted.validity)],
    ["IP addresses not excluded", { constraints: { ...constraints, excluded: { ...noNames, mailboxes: [""] } } }],
    ["DNS names not constrained", { constraints: { ...constraints, permitted: { ...noNames, uris: [trustDomain] } } }],
    ["room for a CA below it", { caPathLength: 1 }],
    ["no path length", { caPathLength: undefined }],
    ["a usage too many", { keyUsages: ["keyCertSign", "cRLSign", "digitalSignature"] }],
    ["an extended usage", { extendedKeyUsages: ["serverAuth"] }],
    ["another end", { validity: validFor(2 * hourMs) }],
  ];

  it.each(faults)("finds %s", async (_name, change) => {
    const root = await makeRoot();
    const leaf = await mint(root, { ...wanted, ...change });
    expect(checkCertificate(factsOf(leaf.der), wanted, root.facts)).not.toEqual([]);
  });

  it("finds an issuer that is not the one", async () => {
    const [root, other] = [await makeRoot(), await makeRoot()];
    const leaf = await mint(root, wanted);
    expect(checkCertificate(factsOf(leaf.der), wanted, root.facts)).toEqual([]);
    expect(checkCertificate(factsOf(leaf.der), wanted, other.facts)).not.toEqual([]);
  });
});

/** A Node TLS server that asks for a client certificate: what it says of one is Node's verdict. */
async function startTlsJudge(root: TestCa) {
  const serverCa = await makeClusterCa(root, east);
  const server = await mint(serverCa, honest);
  const judge = createServer({
    key: server.keyPem,
    cert: certificatePem(server.der) + certificatePem(serverCa.der),
    ca: certificatePem(root.der),
    requestCert: true,
    rejectUnauthorized: false,
  });
  await new Promise<void>((resolve) => judge.listen(0, "127.0.0.1", resolve));
  const { port } = judge.address() as AddressInfo;
  const nodeAccepts = async (chain: readonly Uint8Array[], keyPem: string): Promise<boolean> => {
    const judged = new Promise<boolean>((resolve, reject) => {
      judge.removeAllListeners("tlsClientError").once("tlsClientError", reject);
      judge.once("secureConnection", (socket: TLSSocket) => resolve(socket.authorized));
    });
    const cert = chain.map(certificatePem).join("");
    const client = connect({ port, host: "127.0.0.1", key: keyPem, cert, rejectUnauthorized: false });
    try {
      return await judged;
    } finally {
      client.destroy();
    }
  };
  return { nodeAccepts, close: () => judge.close() };
}
