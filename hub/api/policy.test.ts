// Questions through a real hub: two members answer over gRPC by what their meshes hold, an operator asks over the socket.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAnswers } from "../../agent/explain/answer.ts";
import { runAnswers } from "../../agent/hub/answers.ts";
import { buildIr } from "../../agent/ir/build.ts";
import type { MeshInputs } from "../../agent/ir/inputs.ts";
import {
  aCapacityRecord,
  aGatewayRecord,
  aPod,
  aRouteGroup,
  aService,
  aServiceRecord,
  aSlice,
  aTarget,
  someInputs,
} from "../../agent/ir/testing/objects.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { joinAgent, startTestHub, type TestAgent, type TestHub } from "../testing/hub.ts";
import type { Explanation } from "./explain.ts";
import type { TrialReport } from "./trial.ts";

let hub: TestHub;
let [east, west]: TestAgent[] = [];
const stop = new AbortController();
/** What each agent holds now; a sentence may change it. */
const meshes = new Map<string, MeshInputs>();

const web = aPod({ name: "web-1", ip: "10.244.0.9", serviceAccount: "web", labels: { app: "web" } });

const inEast = someInputs({
  pods: [web],
  remote: [aGatewayRecord(), aServiceRecord(), aCapacityRecord()],
});

function inWest(change: Partial<MeshInputs> = {}): MeshInputs {
  return someInputs({
    cluster: "west" as ClusterName,
    services: [aService()],
    slices: [aSlice()],
    pods: [aPod()],
    exports: [{ namespace: "shop", name: "cart", createdAtMs: 1000 }],
    trafficTargets: [aTarget({ sourceClusters: ["east"] })],
    httpRouteGroups: [aRouteGroup()],
    remote: [aGatewayRecord({ cluster: "east" })],
    ownGateways: [{ host: "198.18.2.10", port: 15443 }],
    ...change,
  });
}

async function member(name: string): Promise<TestAgent> {
  const agent = await joinAgent(hub, name);
  const answer = createAnswers(() => {
    const inputs = meshes.get(name);
    return inputs === undefined ? undefined : { inputs, ir: buildIr(inputs).ir };
  });
  const opened = Promise.withResolvers<undefined>();
  runAnswers(agent.client, { answer, onOpen: () => opened.resolve(undefined) }, stop.signal).catch(opened.reject);
  await opened.promise;
  return agent;
}

async function explained(change: object = {}): Promise<Explanation> {
  const body = {
    from: { member: "east", namespace: "shop", serviceAccount: "web" },
    to: { namespace: "shop", name: "cart", scope: "", port: 0 },
    ...{ method: "GET", path: "/items/7", headers: [] },
    ...change,
  };
  return (await hub.operator("POST", "/v1/explain", body)) as unknown as Explanation;
}

async function tried(order: object): Promise<TrialReport["members"]> {
  const answer = await hub.operator("POST", "/v1/policy/try", { objectsJson: [], ...order });
  return (answer as unknown as TrialReport).members;
}

beforeAll(async () => {
  hub = await startTestHub();
  meshes.set("east", inEast).set("west", inWest());
  east = await member("east");
  west = await member("west");
}, 60_000);

afterAll(async () => {
  stop.abort();
  for (const agent of [east, west]) agent?.client.close();
  await hub.stop();
});

describe("a call between members", () => {
  it("is allowed by the target of the server's member, which is named with its match", async () => {
    const { outcome, findings, backends } = await explained();
    expect(outcome).toBe("allowed");
    expect(backends).toEqual([
      { member: "west", accounts: [], ready: 2, total: 3, namespace: "shop", name: "cart", scope: "fleet" },
    ]);
    expect(findings).toMatchObject([
      { member: "east", side: "caller", outcome: "sent" },
      { member: "west", side: "server", why: "grant", object: "TrafficTarget shop/cart", account: "shop/cart" },
    ]);
    expect(findings[1]?.message).toContain('HTTPRouteGroup shop/cart match "read"');
  });

  it("is refused by the server's member where no match is for it", async () => {
    expect(await explained({ path: "/admin" })).toMatchObject({
      outcome: "refused",
      findings: [{}, { why: "no-match" }],
    });
  });

  it("is refused where the target means the server's own member, and the annotation is named", async () => {
    meshes.set("west", inWest({ trafficTargets: [aTarget()] }));
    const { outcome, findings } = await explained();
    meshes.set("west", inWest());
    expect(outcome).toBe("refused");
    expect(findings[1]).toMatchObject({
      why: "other-cluster",
      message: "TrafficTarget shop/cart names shop/web of west, not of east",
    });
  });

  it("is explained for the path that the first sidecar sends the application to", async () => {
    expect(await explained({ path: "/public/..%2fitems" })).toMatchObject({ outcome: "allowed", redirect: "/items" });
  });

  it("cannot be said while the server's member is not ready to answer", async () => {
    meshes.delete("west");
    const { outcome, findings } = await explained();
    meshes.set("west", inWest());
    expect(outcome).toBe("unknown");
    expect(findings[1]).toMatchObject({ member: "west", why: "member-cannot-say" });
  });

  it("stops in the caller's sidecar when nothing of that name is exported", async () => {
    const to = { namespace: "shop", name: "stock", scope: "", port: 0 };
    expect(await explained({ to })).toMatchObject({ outcome: "refused", findings: [{ why: "not-exported" }] });
  });

  it("of nobody's member is a mistake", async () => {
    const from = { member: "north", namespace: "shop", serviceAccount: "web" };
    await expect(explained({ from })).rejects.toMatchObject({ code: "ISTHMUS_MEMBER_UNKNOWN" });
  });
});

describe("a change that is tried", () => {
  const target = {
    apiVersion: "access.smi-spec.io/v1alpha3",
    kind: "TrafficTarget",
    metadata: { name: "cart", namespace: "shop", annotations: { "isthmus.dev/source-clusters": "east" } },
    spec: {
      destination: { kind: "ServiceAccount", name: "cart", namespace: "shop" },
      sources: [{ kind: "ServiceAccount", name: "web", namespace: "shop" }],
      rules: [{ kind: "HTTPRouteGroup", name: "cart", matches: ["read"] }],
    },
  };

  it("says what it would cut, and changes nothing", async () => {
    const [west] = await tried({ member: "west", objectsJson: [JSON.stringify(target)] });
    expect(west?.changes).toMatchObject([
      {
        ...{ effect: "cut", caller: "east/shop/web", service: "shop/cart:80", account: "shop/cart" },
        ...{ content: "POST,PUT path /items", beside: "still granted: GET path /items" },
      },
    ]);
    expect(await explained({ method: "POST" })).toMatchObject({ outcome: "allowed" });
  });

  it("is tried in every member that is connected when none is named", async () => {
    const members = await tried({ objectsJson: [JSON.stringify(target)], remove: true });
    expect(members).toMatchObject([
      { member: "east", changes: [] },
      { member: "west", changes: [{ effect: "cut" }, { effect: "cut" }] },
    ]);
  });

  describe("that is copied to another member", () => {
    const replicated = {
      ...target,
      metadata: {
        ...{ namespace: "shop", name: "ops" },
        annotations: { "isthmus.dev/source-clusters": "east", "isthmus.dev/replicate": "west" },
      },
      spec: { ...target.spec, sources: [{ kind: "ServiceAccount", namespace: "shop", name: "ops" }] },
    };
    const asks = (object: object, more: object = {}) =>
      tried({ member: "east", objectsJson: [JSON.stringify(object)], ...more });

    it("is tried there too, with what its copy would let through", async () => {
      expect(await asks(replicated)).toMatchObject([
        { member: "east" },
        { member: "west", changes: [{ effect: "allowed", caller: "east/shop/ops" }] },
      ]);
    });

    it("changes nothing where an object of that name is nobody's copy, and says so", async () => {
      const named = { ...replicated, metadata: { ...replicated.metadata, name: "cart" } };
      expect(await asks(named)).toMatchObject([
        { member: "east" },
        {
          member: "west",
          changes: [],
          problems: [{ code: "ISTHMUS_REPLICA_LOCAL", object: "TrafficTarget shop/cart" }],
        },
      ]);
    });

    it("is taken away there when its author no longer names the member, or takes it away", async () => {
      const copy = aTarget({ name: "ops", sources: [{ kind: "ServiceAccount", namespace: "shop", name: "ops" }] });
      const standing = { ...copy, sourceClusters: ["east"], replicatedFrom: "east" };
      meshes.set("west", inWest({ trafficTargets: [aTarget({ sourceClusters: ["east"] }), standing] }));
      const both = Array.from({ length: 2 }, () => ({ effect: "cut", caller: "east/shop/ops" }));
      const cut = [{ member: "east" }, { member: "west", changes: both }];
      const unnamed = { namespace: "shop", name: "ops" };
      expect(await asks({ ...replicated, metadata: unnamed })).toMatchObject(cut);
      expect(await asks(replicated, { remove: true })).toMatchObject(cut);
      meshes.set("west", inWest());
    });

    it("is nobody's business where no copy would come of it", async () => {
      expect(await asks({ ...replicated, metadata: { namespace: "shop", name: "ops" } })).toMatchObject([
        { member: "east" },
      ]);
      meshes.set("west", inWest({ policyFrom: ["north"] }));
      expect(await asks(replicated)).toMatchObject([{ member: "east" }]);
      meshes.set("west", inWest());
    });
  });

  it("may be permissive mode", async () => {
    const [on] = await tried({ member: "west", permissive: "on" });
    expect(on?.changes).toMatchObject([{ effect: "allowed", caller: "anybody", content: "any request" }]);
  });

  it("says what is wrong with an object", async () => {
    const missing = { ...target, spec: { ...target.spec, rules: [{ kind: "HTTPRouteGroup", name: "none" }] } };
    const [west] = await tried({ member: "west", objectsJson: [JSON.stringify(missing)] });
    expect(west?.problems).toMatchObject([{ code: "ISTHMUS_UNRESOLVED_RULE", object: "TrafficTarget shop/cart" }]);
  });

  it("cannot be said of a member that is away", async () => {
    expect(await tried({ member: "north" })).toMatchObject([
      { member: "north", unanswered: expect.stringContaining("no agent") as string },
    ]);
  });
});
