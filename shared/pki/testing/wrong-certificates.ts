// What a thief of east's cluster CA could mint, and certificates of other wrong origins: one table for every verifier. matrix.test.ts
// shows them to OpenSSL, Node and our own check, agent/xds/impersonation.envoy.test.ts to a real gateway and real sidecars.
// The rule of the table: what claims a foreign identity is accepted by nobody.
import type { ClusterName, TrustDomain } from "../../ids.ts";
import { agentTemplate, clusterCaTemplate, hubServerTemplate, workloadTemplate } from "../template.ts";
import type { CertificateTemplate } from "../template.ts";
import { east, fleet, hourMs, makeCa, makeClusterCa, makeRoot, mint, validFor, type TestCa } from "./fleet-pki.ts";

export const trustDomain = "east.acme.mesh" as TrustDomain;
export const own = "spiffe://east.acme.mesh/ns/shop/sa/cart";
export const foreign = "spiffe://west.acme.mesh/ns/shop/sa/cart";
export const honest: CertificateTemplate = workloadTemplate(
  { trustDomain, namespace: "shop", serviceAccount: "cart" },
  validFor(hourMs),
);

/** The fleet's real root, and what was stolen: the key of east's CA. */
export interface StolenPki {
  readonly root: TestCa;
  readonly ca: TestCa;
}

export async function stolenPki(): Promise<StolenPki> {
  const root = await makeRoot();
  return { root, ca: await makeClusterCa(root, east) };
}

export interface Shown {
  readonly leaf: { readonly der: Uint8Array; readonly keyPem: string };
  /** Sent after the leaf; the first one is its issuer. */
  readonly issuers: readonly TestCa[];
}

export interface Verdicts {
  /** "ok" or OpenSSL's verification error. */
  readonly openssl: string;
  readonly node: boolean;
  /** Our own check against the profile. */
  readonly ours: boolean;
}

export interface WrongCertificate extends Verdicts {
  readonly name: string;
  readonly show: (pki: StolenPki) => Promise<Shown>;
}

type Change = Partial<CertificateTemplate>;

const minted = (name: string, change: Change, openssl: string, node = openssl === "ok"): WrongCertificate => ({
  name,
  openssl,
  node,
  ours: false,
  show: async ({ ca }) => ({ leaf: await mint(ca, { ...honest, ...change }), issuers: [ca] }),
});

const uri = (value: string): Change => ({ uris: [value], dnsNames: [] });
const outside = "47"; // permitted subtree violation
const excluded = "48"; // excluded subtree violation
const unreadable = "53"; // unsupported or invalid name syntax

/** Names that are not the cluster's, signed with its real key. */
const foreignNames: readonly WrongCertificate[] = [
  minted("another cluster's URI", uri(foreign), outside),
  minted("own and foreign URI", { uris: [own, foreign] }, outside),
  minted("foreign and own URI", { uris: [foreign, own] }, outside),
  minted("the hub", uri("spiffe://acme.mesh/hub"), outside),
  minted("an agent", uri("spiffe://acme.mesh/agent/west"), outside),
  minted("the fleet's root", uri("spiffe://acme.mesh"), outside),
  minted("a workload of the fleet itself", uri("spiffe://acme.mesh/ns/shop/sa/cart"), outside),
  minted("the domain above the fleet", uri("spiffe://mesh/ns/shop/sa/cart"), outside),
  minted("a sub-domain of its own", uri("spiffe://x.east.acme.mesh/ns/a/sa/b"), outside),
  minted("a domain that ends alike", uri("spiffe://notmesh/east.acme.mesh"), outside),
  minted("a domain that begins alike", uri("spiffe://east.acme.mesh.example/ns/a/sa/b"), outside),
  minted("foreign host behind user info", uri("spiffe://east.acme.mesh@west.acme.mesh/ns/a/sa/b"), outside),
  minted("foreign host with a port", uri("spiffe://west.acme.mesh:443/ns/shop/sa/cart"), outside),
  minted("foreign host in capitals", uri("spiffe://WEST.ACME.MESH/ns/shop/sa/cart"), outside),
  minted("foreign host with a closing dot", uri("spiffe://west.acme.mesh./ns/shop/sa/cart"), outside),
  minted("foreign host, percent-encoded", uri("spiffe://%77est.acme.mesh/ns/shop/sa/cart"), outside),
  minted("foreign host after a backslash", uri("spiffe://east.acme.mesh\\@west.acme.mesh/ns/shop/sa/cart"), outside),
  minted(
    "a null byte after the foreign host",
    uri("spiffe://west.acme.mesh\0.east.acme.mesh/ns/shop/sa/cart"),
    outside,
  ),
  minted("the scheme in capitals", uri("SPIFFE://west.acme.mesh/ns/shop/sa/cart"), outside),
  minted("another scheme", uri("https://west.acme.mesh/ns/shop/sa/cart"), outside),
  minted("a URI without host", uri("spiffe:///ns/shop/sa/cart"), unreadable),
  minted("own URI, foreign DNS name", { dnsNames: ["cart.shop.west.acme.mesh"] }, outside),
  minted("own URI, the hub's DNS name", { dnsNames: ["hub.acme.mesh"] }, outside),
  minted("own URI, a public DNS name", { dnsNames: ["www.example.com"] }, outside),
  minted("own URI, a wildcard", { dnsNames: ["*.acme.mesh"] }, outside),
  minted("own URI, a foreign wildcard", { dnsNames: ["*.shop.west.acme.mesh"] }, outside),
  minted("own URI, foreign DNS name in capitals", { dnsNames: ["CART.SHOP.WEST.ACME.MESH"] }, outside),
  minted("foreign DNS name only", { uris: [], dnsNames: ["cart.shop.west.acme.mesh"] }, outside),
  minted("own URI, the fleet's domain as DNS name", { dnsNames: ["acme.mesh"] }, outside),
  minted("own URI, a DNS name that ends alike", { dnsNames: ["noteast.acme.mesh"] }, outside),
  minted("own URI, an IPv4 address", { ipAddresses: ["10.0.0.1"] }, excluded),
  minted("own URI, an IPv6 address", { ipAddresses: ["fd00::1"] }, excluded),
];

const constraintsOff = (name: ClusterName): CertificateTemplate => ({
  ...clusterCaTemplate(name, fleet, validFor(hourMs)),
  uris: ["spiffe://east.acme.mesh"],
  constraints: undefined,
});

/** Foreign names by other ways than a name in the leaf. */
const foreignWays: readonly WrongCertificate[] = [
  {
    ...{ name: "foreign URI under a CA below the cluster CA", openssl: "25", node: false, ours: false },
    show: async ({ ca }) => {
      const sub = await makeCa(constraintsOff("sub" as ClusterName), ca);
      return { leaf: await mint(sub, { ...honest, ...uri(foreign) }), issuers: [sub, ca] };
    },
  },
  {
    // RFC 5280 6.1.4 (l): a CA that takes its issuer's name does not count in the path, yet inherits the constraints
    ...{ name: "foreign URI under a CA of the cluster CA's own name", openssl: outside, node: false, ours: false },
    show: async ({ ca }) => {
      const sub = await makeCa(constraintsOff(east), ca);
      return { leaf: await mint(sub, { ...honest, ...uri(foreign) }), issuers: [sub, ca] };
    },
  },
  {
    ...{ name: "foreign URI under a root of the same name", openssl: "20", node: false, ours: false },
    show: async () => {
      const ca = await makeClusterCa(await makeRoot(), "west" as ClusterName);
      return { leaf: await mint(ca, { ...honest, ...uri(foreign) }), issuers: [ca] };
    },
  },
  {
    ...{ name: "foreign URI, signed by itself", openssl: "18", node: false, ours: false },
    show: async () => {
      const self = await makeCa({ ...honest, ...uri(foreign) });
      return { leaf: self, issuers: [self] };
    },
  },
  {
    ...{
      name: "foreign URI by the stolen key, behind the other cluster's real CA",
      openssl: "20",
      node: false,
      ours: false,
    },
    show: async ({ root, ca }) => {
      const west = await makeClusterCa(root, "west" as ClusterName);
      return { leaf: await mint(ca, { ...honest, ...uri(foreign) }), issuers: [west] };
    },
  },
  {
    ...{ name: "foreign URI under a CA that ended", openssl: "10", node: false, ours: false },
    show: async ({ root }) => {
      const west = await makeClusterCa(root, "west" as ClusterName, validFor(-60_000));
      return { leaf: await mint(west, { ...honest, ...uri(foreign) }), issuers: [west] };
    },
  },
  {
    ...{ name: "an agent's real certificate", openssl: "ok", node: true, ours: false },
    show: async ({ root }) => ({
      leaf: await mint(root, agentTemplate("west" as ClusterName, fleet, validFor(hourMs))),
      issuers: [root],
    }),
  },
  {
    ...{ name: "the hub's real certificate", openssl: "26", node: false, ours: false },
    show: async ({ root }) => ({
      leaf: await mint(root, hubServerTemplate(fleet, { dnsNames: [], ipAddresses: [] }, validFor(hourMs))),
      issuers: [root],
    }),
  },
];

/** What claims to be somebody else. */
export const foreignClaims: readonly WrongCertificate[] = [...foreignNames, ...foreignWays];

/** Own identity, wrong form: TLS libraries let much of it pass, so our own check may not. */
export const wrongForms: readonly WrongCertificate[] = [
  minted("two URIs, both its own", { uris: [own, `${own}2`] }, "ok"),
  minted("a dot-dot segment", uri("spiffe://east.acme.mesh/../ns/shop/sa/cart"), "ok"),
  minted("an upper-case host", uri("spiffe://EAST.acme.mesh/ns/shop/sa/cart"), "ok"),
  minted("a port", uri("spiffe://east.acme.mesh:80/ns/shop/sa/cart"), "ok"),
  // the host is its own by RFC 3986; two releases of OpenSSL differ over it
  minted("a foreign name as user info", uri("spiffe://west.acme.mesh@east.acme.mesh/ns/a/sa/b"), outside, true),
  minted("a foreign name after a query", uri("spiffe://east.acme.mesh?/west.acme.mesh/ns/shop/sa/cart"), outside, true),
  minted(
    "a foreign name after a fragment",
    uri("spiffe://east.acme.mesh#@west.acme.mesh/ns/shop/sa/cart"),
    outside,
    true,
  ),
  minted("no path", uri("spiffe://east.acme.mesh"), "ok"),
  minted("another path", uri("spiffe://east.acme.mesh/cluster/west"), "ok"),
  minted("another account of its own", uri("spiffe://east.acme.mesh/ns/shop/sa/admin"), "ok"),
  minted("own URI, somebody else's common name", { subject: { commonName: foreign } }, "ok"),
  minted("no name at all", { uris: [], dnsNames: [] }, "87", true),
  minted(
    "a foreign name in the subject alone",
    { uris: [], dnsNames: [], subject: { commonName: foreign } },
    "87",
    true,
  ),
  minted("a CA under a CA that may sign none", { caPathLength: 0, keyUsages: ["keyCertSign", "cRLSign"] }, "84"),
  minted("a leaf that may sign", { keyUsages: ["digitalSignature", "keyCertSign"] }, "82", true),
  minted("for servers only", { extendedKeyUsages: ["serverAuth"] }, "26"),
  minted("ended", { validity: validFor(-60_000) }, "10"),
  minted(
    "not yet valid",
    { validity: { notBeforeMs: validFor(0).notBeforeMs + 2 * hourMs, notAfterMs: validFor(3 * hourMs).notAfterMs } },
    "9",
  ),
  minted("longer than its issuer", { validity: validFor(10_000 * hourMs) }, "ok"),
];
