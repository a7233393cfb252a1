import { describe, expect, it } from "vitest";
import { aMeshConfig } from "../../ir/testing/objects.ts";
import { parseMeshConfig } from "./mesh-config.ts";

const meshConfig = (spec: unknown, name = "osm-mesh-config") => ({
  apiVersion: "config.openservicemesh.io/v1alpha2",
  kind: "MeshConfig",
  metadata: { namespace: "osm-system", name, uid: "1" },
  spec,
});
const read = (spec: unknown) => parseMeshConfig(meshConfig(spec));
const base = aMeshConfig({ namespace: "osm-system" });

describe("a MeshConfig", () => {
  it("that OSM's installation wrote is read: its switches and exclusions", () => {
    const traffic = {
      enableEgress: true,
      enablePermissiveTrafficPolicyMode: true,
      inboundPortExclusionList: [],
      outboundPortExclusionList: [6379],
      outboundIPRangeExclusionList: ["10.0.0.0/8", "192.0.2.7"],
      inboundExternalAuthorization: { enable: false, failureModeAllow: false },
    };
    const sidecar = { logLevel: "error", localProxyMode: "Localhost", tlsMinProtocolVersion: "TLSv1_2" };
    const spec = { traffic, sidecar, observability: { tracing: { enable: false } }, certificate: {} };
    expect(read(spec)).toEqual({
      ok: true,
      value: {
        ...base,
        egress: true,
        permissive: true,
        exclusions: { ...base.exclusions, outboundPorts: [6379], outboundRanges: ["10.0.0.0/8", "192.0.2.7/32"] },
      },
    });
  });

  it("says nothing of what it does not have", () => {
    expect([read({}), read(undefined), read({ traffic: null })]).toEqual(Array(3).fill({ ok: true, value: base }));
  });

  it.each([
    [
      { traffic: { inboundExternalAuthorization: { enable: true } } },
      "spec.traffic.inboundExternalAuthorization.enable",
    ],
    [{ traffic: { networkInterfaceExclusionList: ["net1"] } }, "spec.traffic.networkInterfaceExclusionList"],
    [{ sidecar: { localProxyMode: "PodIP" } }, "spec.sidecar.localProxyMode"],
    [{ observability: { tracing: { enable: true } } }, "spec.observability.tracing.enable"],
  ])("%j asks for what is not done here", (spec, field) => {
    expect(read(spec)).toMatchObject({ ok: true, value: { unmet: [field] } });
  });

  it.each([
    [{ traffic: { enableEgress: "yes" } }, "spec.traffic.enableEgress"],
    [{ traffic: { outboundPortExclusionList: [0] } }, "spec.traffic.outboundPortExclusionList[0]"],
    [{ traffic: { outboundIPRangeExclusionList: ["10.0.0.0/99"] } }, "spec.traffic.outboundIPRangeExclusionList[0]"],
    [{ traffic: { outboundIPRangeInclusionList: ["x; drop"] } }, "spec.traffic.outboundIPRangeInclusionList[0]"],
  ])("%j is a mistake, and the field is named", (spec, field) => {
    expect(read(spec)).toMatchObject({ ok: false, error: [{ field }] });
  });

  it("of another name is none", () => {
    expect(parseMeshConfig(meshConfig({ traffic: { enableEgress: false } }, "mine"))).toEqual({ ok: true });
  });
});
