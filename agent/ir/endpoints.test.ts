import { describe, expect, it } from "vitest";
import { translate } from "../xds/translate.ts";
import { buildIr } from "./build.ts";
import type { MeshInputs, PodInput } from "./inputs.ts";
import { aPod, aRouteGroup, aService, aSlice, aTarget, anEndpoint, someInputs } from "./testing/objects.ts";

const trust = { rootsPem: "(roots)", chainPem: "(chain)", keyPem: "(key)" };
const workload = { workloadKind: "Deployment", workloadName: "web", inbound: [] };
const caller = { kind: "sidecar" as const, namespace: "shop", serviceAccount: "web", ...workload };
const port = "outbound|cluster|shop|cart|80";

function meshWith(pods: readonly PodInput[], podName: string): MeshInputs {
  return someInputs({
    services: [aService()],
    slices: [aSlice({ name: "cart-1", service: "cart", endpoints: [anEndpoint({ podName })] })],
    pods,
    trafficTargets: [aTarget()],
    httpRouteGroups: [aRouteGroup({ name: "cart" })],
  });
}

function chainsOf(inputs: MeshInputs): readonly unknown[] {
  const listener = translate(buildIr(inputs).ir, caller, trust).lds.get("outbound");
  return (listener?.["filter_chains"] as readonly { readonly name: string }[]).map(({ name }) => name);
}

describe("an endpoint", () => {
  it.each([
    { about: "its pod is not known yet, or is gone already", pods: [], podName: "cart-1" },
    { about: "its pod has a sidecar", pods: [aPod()], podName: aPod().name },
  ])("leaves its service in the mesh when $about", ({ pods, podName }) => {
    expect(chainsOf(meshWith(pods, podName))).toContain(port);
  });

  it("takes its service out of the mesh when its pod has no sidecar", () => {
    const pod = aPod({ meshed: false });
    expect(chainsOf(meshWith([pod], pod.name))).not.toContain(port);
  });

  it("is called by nobody while its pod is not known", () => {
    const [service] = buildIr(meshWith([], "cart-1")).ir.services;
    expect(service?.ports[0]?.local).toEqual([]);
  });
});
