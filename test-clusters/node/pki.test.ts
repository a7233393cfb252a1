import { X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { makeClusterPki, type ClusterPki } from "./pki.ts";

let pki: ClusterPki;
beforeAll(async () => {
  pki = await makeClusterPki({
    cluster: "east",
    nodeName: "east-node",
    nodeAddress: "198.18.1.2",
    serviceAddress: "10.96.0.1",
  });
});

describe("a cluster's certificates", () => {
  it("chain to the cluster's authority, the front proxy's to one of its own", () => {
    const ca = new X509Certificate(pki.caPem);
    const frontProxyCa = new X509Certificate(pki.frontProxyCaPem);
    for (const each of [pki.apiserver, pki.node, pki.admin, pki.proxy, pki.scheduler, pki.controllerManager])
      expect(new X509Certificate(each.certPem).verify(ca.publicKey)).toBe(true);
    const frontProxy = new X509Certificate(pki.frontProxy.certPem);
    expect(frontProxy.verify(frontProxyCa.publicKey)).toBe(true);
    expect(frontProxy.verify(ca.publicKey)).toBe(false);
  });

  it("name the API server as pods and the host call it", () => {
    const certificate = new X509Certificate(pki.apiserver.certPem);
    expect(certificate.checkIP("198.18.1.2")).toBeDefined();
    expect(certificate.checkIP("10.96.0.1")).toBeDefined();
    expect(certificate.checkHost("kubernetes.default.svc")).toBeDefined();
    expect(certificate.checkHost("example.com")).toBeUndefined();
  });

  it("give the node the name that the node authorizer wants", () => {
    expect(new X509Certificate(pki.node.certPem).subject).toContain("CN=system:node:east-node");
    expect(new X509Certificate(pki.node.certPem).subject).toContain("O=system:nodes");
  });
});
