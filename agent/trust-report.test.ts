// What a replica says of its proxies' trust, read out of what each of them has acknowledged.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { certificateFingerprint } from "../shared/pki/fingerprint.ts";
import { trustDomainOf } from "../shared/ids.ts";
import { issuingCaTemplate, workloadTemplate } from "../shared/pki/template.ts";
import {
  east,
  fleet as acme,
  hourMs,
  makeCa,
  makeClusterCa,
  makeRoot,
  mint,
  validFor,
} from "../shared/pki/testing/fleet-pki.ts";
import { certificatePem, parseChainPem } from "../shared/pki/pem.ts";
import { encodeResource } from "../shared/wire.ts";
import type { AdsStream } from "./ads/stream.ts";
import { trustReport, type TrustReportInput } from "./trust-report.ts";
import { newStreamState } from "./xds/order.ts";
import { typeUrls, type EncodedResource, type JsonMessage } from "./xds/resource.ts";
import { subscribeDelta } from "./xds/discovery-request.ts";
import { retarget } from "./xds/subscription.ts";
import { testFleet } from "./xds/testing/certificates.ts";

const dir = mkdtempSync(join(tmpdir(), "isthmus-trust-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function side(name: string): Side {
  const folder = join(dir, name);
  mkdirSync(folder);
  const fleet = testFleet(folder, "acme.mesh");
  const parsed = parseChainPem(fleet.rootsPem);
  const der = parsed.ok ? parsed.value[0]! : new Uint8Array();
  return { pem: fleet.rootsPem, der, root: certificateFingerprint(der), svid: fleet.svid("east", "shop", "cart") };
}

const [old, fresh] = [side("old"), side("new")];

interface Side {
  readonly pem: string;
  readonly der: Uint8Array;
  readonly root: string;
  readonly svid: { readonly chainPem: string; readonly keyPem: string };
}

function resource(value: JsonMessage & { readonly name: string }): EncodedResource {
  const { bytes, version } = encodeResource(typeUrls.sds, value);
  return { type: "sds", name: value.name, version, bytes, needs: [] };
}

const roots = (name: string, pem: string) =>
  resource({ name, validation_context: { trusted_ca: { inline_string: pem } } });
const svid = ({ svid: { chainPem, keyPem } }: Side) =>
  resource({
    name: "svid",
    tls_certificate: { certificate_chain: { inline_string: chainPem }, private_key: { inline_string: keyPem } },
  });

function proxy(secrets: readonly EncodedResource[], acknowledged: boolean, more: Partial<AdsStream> = {}): AdsStream {
  const state = newStreamState("delta");
  const { sds } = state.types;
  retarget(sds, new Map(secrets.map((secret) => [secret.name, secret])));
  const subscribe = secrets.map(({ name }) => name);
  const initialVersions = new Map(acknowledged ? secrets.map(({ name, version }) => [name, version]) : []);
  if (secrets.length > 0) subscribeDelta(sds, { subscribe, unsubscribe: [], initialVersions });
  const peer = { podUid: "uid-1", nodeId: "sidecar~cart.shop", podName: "cart", namespace: "shop" };
  return { peer, address: "127.0.0.1:1", openedAtMs: 0, state, ...more } as AdsStream;
}

function reportOf(streams: readonly AdsStream[], more: Partial<TrustReportInput> = {}) {
  return trustReport({
    ...{ streams, verifiedBy: () => old.root, pods: [], rootsDer: [old.der, fresh.der] },
    ...{ agentRoot: old.root, clusterCaRoot: old.root, svidTtlMs: 60_000, nowMs: 60_000 },
    ...more,
  });
}

const useOf = (report: ReturnType<typeof reportOf>, { root }: Side) => {
  const use = report.roots.find((each) => each.root === root);
  return use === undefined ? undefined : [use.trustedBy, use.usedBy, use.provenBy];
};

/** A workload's chain as it is below a root that the hub does not hold: leaf, cluster CA, issuing CA. */
async function belowIssuingCa() {
  const root = await makeRoot();
  const issuing = await makeCa(issuingCaTemplate(acme, "test", validFor(500 * hourMs)), root);
  const clusterCa = await makeClusterCa(issuing, east);
  const name = { trustDomain: trustDomainOf(east, acme), namespace: "shop", serviceAccount: "cart" };
  const leaf = await mint(clusterCa, workloadTemplate(name, validFor(hourMs)));
  const chainPem = [leaf.der, clusterCa.der, issuing.der].map(certificatePem).join("");
  return { rootDer: root.der, rootPem: certificatePem(root.der), chainPem };
}

describe("a trust report", () => {
  it("counts what a proxy has acknowledged: trusts both roots, uses the old one", () => {
    const report = reportOf([proxy([roots("roots", old.pem + fresh.pem), svid(old)], true)]);
    expect([useOf(report, old), useOf(report, fresh)]).toEqual([
      [1, 1, 1],
      [1, 0, 0],
    ]);
  });

  it("counts nothing of what is only on its way", () => {
    const report = reportOf([proxy([roots("roots", old.pem + fresh.pem), svid(old)], false)]);
    expect([useOf(report, old), useOf(report, fresh)]).toEqual([
      [0, 0, 1],
      [0, 0, 0],
    ]);
    expect(report.roots[0]?.untrusting).toEqual(["sidecar~cart.shop"]);
  });

  it("counts a root only when everything that verifies peers has it", () => {
    const secrets = [roots("roots", old.pem + fresh.pem), roots("identities|fleet|shop|pay|80", old.pem), svid(fresh)];
    const report = reportOf([proxy(secrets, true)]);
    expect([useOf(report, old), useOf(report, fresh)]).toEqual([
      [1, 0, 1],
      [0, 1, 0],
    ]);
  });

  it("knows the root of a certificate below an issuing CA: the chain's end counts, not what signed the cluster CA", async () => {
    const { rootPem, rootDer, chainPem } = await belowIssuingCa();
    const held = certificateFingerprint(rootDer);
    const secrets = [roots("roots", rootPem), svid({ ...fresh, svid: { chainPem, keyPem: fresh.svid.keyPem } })];
    const report = reportOf([proxy(secrets, true)], {
      ...{ rootsDer: [old.der, rootDer], agentRoot: held, clusterCaRoot: held, verifiedBy: () => held },
    });
    expect(useOf(report, { ...fresh, root: held })).toEqual([1, 1, 1]);
    expect(useOf(report, old)).toEqual([0, 0, 0]);
    // without its issuing CA the chain ends nowhere
    const cut = chainPem
      .split(/(?=-----BEGIN)/)
      .slice(0, 2)
      .join("");
    const broken = [roots("roots", rootPem), svid({ ...fresh, svid: { chainPem: cut, keyPem: fresh.svid.keyPem } })];
    expect(useOf(reportOf([proxy(broken, true)], { rootsDer: [rootDer] }), { ...fresh, root: held })).toEqual([
      1, 0, 0,
    ]);
  });

  it("does not mind that another fleet is verified by other roots", () => {
    const foreign = [roots("foreign-roots|beta.mesh", fresh.pem), roots("foreign-callers|80|beta.mesh", fresh.pem)];
    const report = reportOf([proxy([roots("roots", old.pem), ...foreign, svid(old)], true)]);
    expect(useOf(report, old)).toEqual([1, 1, 1]);
    expect(useOf(report, fresh)).toEqual([0, 0, 0]);
  });

  it("names a root that a proxy still trusts after it has left the bundle", () => {
    const stale = proxy([roots("roots", old.pem + fresh.pem), svid(fresh)], true);
    const report = reportOf([stale], { rootsDer: [fresh.der], verifiedBy: () => fresh.root });
    expect([useOf(report, old), useOf(report, fresh)]).toEqual([
      [1, 0, 0],
      [1, 1, 1],
    ]);
  });

  it("does not count a proxy that has just come and has not said what it holds", () => {
    expect(useOf(reportOf([proxy([], true, { openedAtMs: 59_000 })]), fresh)).toEqual([0, 0, 0]);
    expect(useOf(reportOf([proxy([], true, { openedAtMs: 1_000 })]), fresh)).toEqual([1, 1, 0]);
  });

  it("names ready sidecars that no stream of this replica belongs to", () => {
    const pod = { namespace: "shop", meshed: true, ready: true, terminating: false };
    const pods = [
      { ...pod, name: "cart", uid: "uid-1" },
      { ...pod, name: "lost", uid: "uid-2" },
      { ...pod, name: "starting", uid: "uid-3", ready: false },
      { ...pod, name: "stranger", uid: "uid-4", meshed: false },
    ] as unknown as TrustReportInput["pods"];
    expect(reportOf([proxy([svid(old)], true)], { pods }).unserved).toEqual(["shop/lost"]);
  });
});
