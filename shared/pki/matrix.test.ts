// What a stolen cluster CA can do: certificates minted with its real key, shown to OpenSSL (-x509_strict), to Node's TLS and to
// our own check. The rule of the table: what claims a foreign identity is accepted by none of the TLS stacks.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClusterName } from "../ids.ts";
import { noNames, type NameConstraints } from "./certificate.ts";
import { certificatePem } from "./pem.ts";
import { agentTemplate, clusterCaTemplate, type CertificateTemplate } from "./template.ts";
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
import { foreign, foreignClaims, honest, trustDomain, wrongForms } from "./testing/wrong-certificates.ts";
import { checkCertificate } from "./validate.ts";

const leafIsAnAgents = (der: Uint8Array) => factsOf(der).names.uris[0]?.startsWith("spiffe://acme.mesh/agent/");

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

  it.each(foreignClaims)("$name: refused where anybody goes by it", async ({ show, openssl: code, node, ours }) => {
    const { leaf, issuers } = await show({ root: root!, ca: ca! });
    // the agent's certificate is a client's of the hub alone: no workload takes it (impersonation.envoy.test.ts)
    if (!leafIsAnAgents(leaf.der)) expect([code === "ok", node, ours]).toEqual([false, false, false]);
    expect(await judge(leaf, issuers)).toEqual({ openssl: code, node, ours });
  });

  it.each(wrongForms)("$name: refused by our check at least", async ({ show, openssl: code, node, ours }) => {
    const { leaf, issuers } = await show({ root: root!, ca: ca! });
    expect(ours).toBe(false);
    expect(await judge(leaf, issuers)).toEqual({ openssl: code, node, ours });
  });

  it("the table has forty cases and more of foreign claims", () => {
    expect(foreignClaims.length).toBeGreaterThanOrEqual(40);
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
      await judge(await mint(sub, { ...honest, uris: [foreign], dnsNames: [] }), [sub, ca!]),
    ];
    expect(verdicts.map(({ openssl: code, node }) => [code, node])).toEqual([
      ["ok", true],
      ["47", false],
    ]);
  });

  it("the control: without constraints a foreign URI would pass, so it is they that refuse it", async () => {
    const free = await makeCa({ ...clusterCaTemplate(east, fleet, validFor(hourMs)), constraints: undefined }, root);
    const verdict = await judge(await mint(free, { ...honest, uris: [foreign], dnsNames: [] }), [free]);
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
