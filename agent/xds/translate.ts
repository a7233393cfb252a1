// The entry of this folder: what the mesh means (IR) to what one proxy is told (xDS). Called by agent/ads for every proxy class
// on every push; pure. Equal parts of the IR give the same message objects again, so a push costs O(change).
// Every resource that another one names must be in the same set: the snapshot refuses a set that does not close over its references.
import type { MeshIr } from "../ir/types.ts";
import { exportCluster } from "./clusters.ts";
import { loadAssignment } from "./endpoints.ts";
import { exportName, gatewayListener, gatewayShape } from "./gateway.ts";
import { addInbound, inboundMessages } from "./inbound-resources.ts";
import { outboundResources } from "./outbound-resources.ts";
import type { GatewayClass, ProxyClass, ProxyTrust, SidecarClass } from "./proxy.ts";
import { latest, remembered, type LatestOf } from "./remembered.ts";
import { copyOf, noResources, put, type ResourceMaps } from "./resource-maps.ts";
import type { JsonMessage, ResourceSet } from "./resource.ts";
import { rootsSecret, svidSecret } from "./secrets.ts";

/** What no Kubernetes object decides. */
export interface TranslateSettings {
  /** Whether requests are counted by pod: pods that come and go are most of what a Prometheus has to hold. */
  readonly podLabel: boolean;
}

export const defaultSettings: TranslateSettings = { podLabel: true };

interface TranslateInput {
  readonly ir: MeshIr;
  readonly trust: ProxyTrust;
  readonly settings: TranslateSettings;
}

const gatewayListeners: LatestOf<JsonMessage> = new WeakMap();

function addGateway(resources: ResourceMaps, ir: MeshIr, proxy: GatewayClass): void {
  for (const exported of ir.exportPorts) {
    const name = exportName(exported);
    // TLS ends at the pod: one without a sidecar could not answer
    const assignment = () =>
      loadAssignment({ name, local: exported.endpoints.filter((endpoint) => endpoint.meshed), remote: [] });
    put(
      resources.cds,
      remembered(exported, `export|${name}`, () => exportCluster(name)),
    );
    put(resources.eds, remembered(exported, `eds|${name}`, assignment));
  }
  put(
    resources.lds,
    latest(gatewayListeners, proxy, gatewayShape(ir), () => gatewayListener(ir, proxy.bind)),
  );
}

function addTrust(resources: ResourceMaps, trust: ProxyTrust, ir: MeshIr): void {
  const { fleetDomain: fleet, revokedTrustDomains: revoked } = ir;
  const { rootsPem } = trust;
  put(
    resources.sds,
    remembered(trust, "svid", () => svidSecret(trust)),
  );
  put(
    resources.sds,
    remembered(trust, `roots|${fleet}|${revoked.join(" ")}`, () => rootsSecret({ rootsPem, fleet, revoked })),
  );
}

function trustNeeds({ ir, trust }: TranslateInput): readonly unknown[] {
  return [trust, ir.fleetDomain, ir.revokedTrustDomains.join(" ")];
}

const sidecarSets: LatestOf<ResourceSet> = new WeakMap();

function sidecarSet(input: TranslateInput, proxy: SidecarClass): ResourceSet {
  const { ir, trust, settings } = input;
  const outbound = outboundResources({ ir, trust, ...settings }, proxy);
  const inbound = inboundMessages(ir, trust.rootsPem, proxy);
  return latest(sidecarSets, proxy, [outbound, inbound, ...trustNeeds(input)], () => {
    const resources = copyOf(outbound);
    addTrust(resources, trust, ir);
    addInbound(resources, inbound);
    return resources;
  });
}

const gatewaySets: LatestOf<ResourceSet> = new WeakMap();

function gatewaySet(input: TranslateInput, proxy: GatewayClass): ResourceSet {
  const { ir, trust } = input;
  const needs = [ir.cluster, ir.exportPorts, ir.peers, ...trustNeeds(input)];
  return latest(gatewaySets, proxy, needs, () => {
    const resources = noResources();
    addTrust(resources, trust, ir);
    addGateway(resources, ir, proxy);
    return resources;
  });
}

/** Every resource of one proxy class, from one IR. The very set of the last call when nothing of it changed. */
export function translate(
  ir: MeshIr,
  proxy: ProxyClass,
  trust: ProxyTrust,
  settings: TranslateSettings = defaultSettings,
): ResourceSet {
  const input = { ir, trust, settings };
  return proxy.kind === "sidecar" ? sidecarSet(input, proxy) : gatewaySet(input, proxy);
}
