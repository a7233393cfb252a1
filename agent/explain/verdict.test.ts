// Verdicts as a person reads them: each reason once, with the object that is named. That they are true is policy.envoy.test.ts's to say.
import { beforeAll, describe, expect, it } from "vitest";
import { buildIr } from "../ir/build.ts";
import type { MeshInputs } from "../ir/inputs.ts";
import {
  aCapacityRecord,
  aGatewayRecord,
  anEndpoint,
  aPod,
  aPort,
  aRouteGroup,
  aService,
  aServiceRecord,
  aSlice,
  aTarget,
  aTcpRoute,
  someInputs,
} from "../ir/testing/objects.ts";
import type { InboundPortIr } from "../ir/types.ts";
import { callerVerdict, type CallTarget } from "./caller.ts";
import { loadRe2 } from "./re2.ts";
import { seenBySidecars, type SeenHttp } from "./request.ts";
import { serverVerdict, type MatchesRegex } from "./server.ts";

const web = { namespace: "shop", serviceAccount: "web" };
const cart = { namespace: "shop", serviceAccount: "cart" };

function shop(change: Partial<MeshInputs> = {}): MeshInputs {
  return someInputs({
    services: [aService({ ports: [aPort(), aPort({ name: "tcp-db", port: 5432, targetPort: 5432 })] })],
    slices: [
      aSlice({
        ports: [
          { name: "http", port: 8080 },
          { name: "tcp-db", port: 5432 },
        ],
        endpoints: [anEndpoint()],
      }),
    ],
    pods: [aPod(), aPod({ name: "web-1", ip: "10.244.0.9", serviceAccount: "web", labels: { app: "web" } })],
    trafficTargets: [aTarget()],
    httpRouteGroups: [aRouteGroup()],
    ...change,
  });
}

let matches: MatchesRegex;
beforeAll(async () => {
  matches = await loadRe2();
});
const get = { method: "GET", path: "/items/7", headers: {} };

function called(inputs: MeshInputs, target: Partial<CallTarget>, request: SeenHttp = get) {
  const named = { namespace: "shop", name: "cart", ...target };
  return callerVerdict({ ir: buildIr(inputs).ir, inputs }, web, named, { request, matches });
}

describe("the caller's sidecar", () => {
  const rows: readonly { about: string; inputs: MeshInputs; target?: Partial<CallTarget>; why: string }[] = [
    { about: "sends what a target grants", inputs: shop(), why: "sent" },
    { about: "refuses what no target grants", inputs: shop({ trafficTargets: [] }), why: "no-grant" },
    { about: "knows no such port", inputs: shop(), target: { port: 81 }, why: "no-port" },
    {
      about: "calls a service whose namespace is not in the mesh as if there were none",
      ...{ inputs: shop({ meshNamespaces: ["bank"] }), why: "namespace-not-in-mesh" },
    },
    { about: "has no service that nobody exports", inputs: shop(), target: { name: "stock" }, why: "not-exported" },
    {
      about: "has no import where its namespace does not exist",
      inputs: shop({
        namespaces: ["shop"],
        remote: [aGatewayRecord(), aServiceRecord({ namespace: "bank", name: "stock" })],
      }),
      ...{ target: { namespace: "bank", name: "stock" }, why: "no-import" },
    },
    {
      about: "has nobody to send to when the exporter has no gateway",
      inputs: shop({
        remote: [
          aGatewayRecord({ addresses: [] }),
          aServiceRecord({ name: "stock" }),
          aCapacityRecord({ name: "stock" }),
        ],
      }),
      ...{ target: { name: "stock" }, why: "unserved" },
    },
    {
      about: "sends an import to its members, whatever the targets here say",
      inputs: shop({
        trafficTargets: [],
        remote: [aGatewayRecord(), aServiceRecord({ name: "stock" }), aCapacityRecord({ name: "stock" })],
      }),
      ...{ target: { name: "stock" }, why: "sent" },
    },
    {
      about: "is missing",
      inputs: shop({ pods: [aPod(), aPod({ name: "web-1", ip: "10.244.0.9", serviceAccount: "web", meshed: false })] }),
      why: "caller-not-meshed",
    },
    {
      about: "leaves a service without any sidecar alone",
      inputs: shop({
        pods: [aPod({ meshed: false }), aPod({ name: "web-1", ip: "10.244.0.9", serviceAccount: "web" })],
      }),
      why: "outside-mesh",
    },
    {
      about: "lets nothing out to a service without any sidecar where its namespace has no egress",
      inputs: shop({
        pods: [aPod({ meshed: false }), aPod({ name: "web-1", ip: "10.244.0.9", serviceAccount: "web" })],
        egress: false,
      }),
      why: "no-egress",
    },
    {
      about: "lets nothing out to a namespace that is not in the mesh either",
      ...{ inputs: shop({ meshNamespaces: ["bank"], egress: false }), why: "no-egress" },
    },
    {
      about: "sees everything in permissive mode",
      inputs: shop({ trafficTargets: [], permissive: true }),
      why: "sent",
    },
  ];

  it.each(rows)("$about", ({ inputs, target, why }) => {
    const verdict = called(inputs, target ?? {});
    expect(verdict.kind === "sent" ? "sent" : verdict.why).toBe(why);
  });

  it("names the targets that lead to the service when none is this caller's", () => {
    const inputs = shop({
      trafficTargets: [aTarget({ sources: [{ kind: "ServiceAccount", namespace: "shop", name: "ops" }] })],
    });
    const verdict = called(inputs, { port: 80 });
    expect(verdict).toMatchObject({
      why: "no-grant",
      message: "no TrafficTarget of east has source shop/web and destination shop/cart; those to it: shop/cart",
    });
  });
});

describe("a TrafficSplit", () => {
  const part = (name: string, ip: string) => ({
    service: aService({ name, clusterIps: [ip], selector: { app: name } }),
    slice: aSlice({
      name: `${name}-1`,
      service: name,
      endpoints: [anEndpoint({ address: ip.replace("96", "244"), podName: `${name}-1` })],
    }),
    pod: aPod({ name: `${name}-1`, ip: ip.replace("96", "244"), serviceAccount: name, labels: { app: name } }),
  });
  const [first, second] = [part("cart-v1", "10.96.0.21"), part("cart-v2", "10.96.0.22")];
  const base = shop();
  const split = {
    ...{
      namespace: "shop",
      name: "canary",
      service: "cart",
      matches: [] as { kind: string; name: string }[],
      createdAtMs: 0,
    },
    backends: [
      { service: "cart-v1", weight: 90 },
      { service: "cart-v2", weight: 10 },
    ],
  };
  const inputs = (change: Partial<typeof split> = {}) => ({
    ...base,
    services: [...base.services, first.service, second.service],
    slices: [...base.slices, first.slice, second.slice],
    pods: [...base.pods, first.pod, second.pod],
    trafficSplits: [{ ...split, ...change }],
  });
  const legs = (verdict: ReturnType<typeof called>) =>
    verdict.kind === "sent" ? verdict.legs.map(({ view, weight }) => [view.service.name, weight]) : verdict.why;

  it("divides a call among its backends, those included that the caller may not reach", () => {
    expect(legs(called(inputs(), {}))).toEqual([
      ["cart-v1", 90],
      ["cart-v2", 10],
    ]);
  });

  it("gives nothing to a weight of 0", () => {
    const backends = [...split.backends.slice(0, 1), { service: "cart-v2", weight: 0 }];
    expect(legs(called(inputs({ backends }), {}))).toEqual([["cart-v1", 90]]);
  });

  it("leaves requests that it does not match to the root itself", () => {
    const matched = inputs({ matches: [{ kind: "HTTPRouteGroup", name: "cart" }] });
    expect(legs(called(matched, {}))).toEqual([
      ["cart-v1", 90],
      ["cart-v2", 10],
    ]);
    expect(legs(called(matched, {}, { ...get, path: "/other" }))).toEqual([["cart", 1]]);
  });
});

describe("the server's sidecar", () => {
  const tcpTarget = aTarget({ rules: [{ kind: "TCPRoute", name: "db", matches: [] }] });
  const rows: readonly {
    about: string;
    inputs: MeshInputs;
    request?: SeenHttp;
    cluster?: string;
    inbound?: InboundPortIr;
    why: string;
  }[] = [
    { about: "grants by target and match", inputs: shop(), why: "grant" },
    { about: "refuses another path", inputs: shop(), request: { ...get, path: "/admin" }, why: "no-match" },
    { about: "refuses another method", inputs: shop(), request: { ...get, method: "DELETE" }, why: "no-match" },
    { about: "knows no target for the caller", inputs: shop({ trafficTargets: [] }), why: "no-grant" },
    { about: "takes a member's account for that member's alone", inputs: shop(), cluster: "west", why: "no-grant" },
    {
      about: "takes an account of a member that the target names",
      ...{ inputs: shop({ trafficTargets: [aTarget({ sourceClusters: ["west"] })] }), cluster: "west", why: "grant" },
    },
    {
      about: "refuses a revoked member whatever is granted",
      inputs: shop({ trafficTargets: [aTarget({ sourceClusters: ["*"] })], revokedTrustDomains: ["west.acme.mesh"] }),
      ...{ cluster: "west", why: "revoked" },
    },
    {
      about: "refuses a port that no target names",
      ...{ inputs: shop({ trafficTargets: [tcpTarget], tcpRoutes: [aTcpRoute()] }), why: "port" },
    },
    {
      about: "opens no raw TCP port by HTTP rules",
      ...{ inputs: shop(), inbound: { port: 5432, protocol: "tcp" }, why: "http-only" },
    },
    {
      about: "opens a raw TCP port by a TCPRoute",
      inputs: shop({ trafficTargets: [tcpTarget], tcpRoutes: [aTcpRoute()] }),
      ...{ inbound: { port: 5432, protocol: "tcp" }, why: "grant" },
    },
    {
      about: "asks nothing in permissive mode",
      inputs: shop({ trafficTargets: [], permissive: true }),
      why: "permissive",
    },
  ];

  it.each(rows)(
    "$about",
    ({ inputs, request = get, cluster = "east", inbound = { port: 8080, protocol: "http" }, why }) => {
      const verdict = serverVerdict(
        buildIr(inputs).ir,
        { ...cart, inbound },
        { ...web, cluster },
        { request, matches },
      );
      expect(verdict.why).toBe(why);
      if (verdict.why === "grant")
        expect(verdict).toMatchObject({ grant: { origin: { namespace: "shop", name: "cart" } } });
    },
  );
});

describe("a path", () => {
  const rows = [
    { written: "/items?page=2", seen: "/items" },
    { written: "/public/../admin", seen: "/admin" },
    { written: "/%61dmin", seen: "/admin" },
    { written: "//admin", seen: "/admin" },
    { written: "/a\\..\\admin", seen: "/admin" },
    { written: "/public/..", seen: "/" },
    { written: "/a%20b", seen: "/a%20b" },
  ];
  it.each(rows)("$written is seen as $seen", ({ written, seen }) => {
    expect(seenBySidecars({ method: "GET", path: written, headers: {} })).toMatchObject({ request: { path: seen } });
  });

  it.each(["/public/..%2fadmin", "/public/..%5Cadmin"])("%s is sent back as what it stands for", (written) => {
    expect(seenBySidecars({ method: "GET", path: written, headers: {} })).toEqual({ kind: "redirect", path: "/admin" });
  });

  it.each(["items", "/a b", "/%zz", "/%00"])("%s is none", (written) => {
    expect(seenBySidecars({ method: "GET", path: written, headers: {} }).kind).toBe("malformed");
  });
});
