// Who holds a step up, and why: a table of what members have shown.
import { describe, expect, it } from "vitest";
import type { MemberEvidence, ReplicaEvidence, RootUse } from "./evidence.ts";
import { gateOf, retireAtMs } from "./gate.ts";
import type { Rotation, Step } from "./rotation.ts";

const sequence = 9;

function rotation(step: Step, more: Partial<Rotation> = {}): Rotation {
  return { from: "old", to: "new", step, journal: [{ step, atMs: 0, sequence }], setAside: [], ...more };
}

function use(count: number, more: Partial<RootUse> = {}): RootUse {
  const counts = { trustedBy: count, usedBy: count, provenBy: count };
  const held = { agentCertificate: count > 0, clusterCa: count > 0 };
  return { ...counts, ...held, untrusting: [], notUsing: [], unproven: [], ...more };
}

interface Shown extends Partial<Omit<ReplicaEvidence, "roots">> {
  readonly old?: RootUse;
  readonly new?: RootUse;
}

/** Three proxies that trust both roots and use the new one. */
function replica(shown: Shown = {}): ReplicaEvidence {
  const { old = use(0, { trustedBy: 3 }), new: fresh = use(3), ...more } = shown;
  const roots = new Map([
    ["old", old],
    ["new", fresh],
  ]);
  return { pod: "agent-0", bundleSequence: sequence, proxies: 3, unserved: [], svidTtlMs: 60_000, roots, ...more };
}

const member = (...replicas: readonly ReplicaEvidence[]): MemberEvidence => ({ cluster: "east", replicas, silent: [] });
const gate = (step: Step, members: readonly MemberEvidence[], more: Partial<Rotation> = {}, rootProblem = "") =>
  gateOf({ rotation: rotation(step, more), members, rootProblem, nowMs: 1_000 });

describe("a step is left when everybody has shown that it may be", () => {
  it.each<[Step, ReplicaEvidence]>([
    ["trusted", replica({ new: use(0, { trustedBy: 3 }), old: use(3) })],
    ["signing", replica()],
    ["retiring", replica()],
    ["revoked", replica({ old: use(0) })],
    ["reverting", replica({ old: use(3), new: use(0, { trustedBy: 3 }) })],
  ])("%s", (step, shown) => {
    expect(gate(step, [member(shown)])).toEqual({ open: true, blockers: [] });
  });

  it.each<[string, Step, MemberEvidence, string]>([
    ["an older bundle", "trusted", member(replica({ bundleSequence: 8 })), "has trust bundle 8, not 9"],
    [
      "an Envoy without an ACK of the root",
      "trusted",
      member(replica({ new: use(3, { trustedBy: 2, untrusting: ["sidecar~cart.shop"] }) })),
      "sidecar~cart.shop have not acknowledged the root",
    ],
    [
      "a sidecar that no agent serves",
      "trusted",
      member(replica({ unserved: ["shop/cart-1"] })),
      "sidecars without an agent: shop/cart-1",
    ],
    [
      "a cluster CA of the old root",
      "signing",
      member(replica({ new: use(3, { clusterCa: false }) })),
      "its cluster CA is not renewed under the root yet",
    ],
    [
      "an agent's certificate of the old root",
      "signing",
      member(replica({ new: use(3, { agentCertificate: false }) })),
      "its agent's certificate is not renewed under the root yet",
    ],
    [
      "an Envoy with a leaf of the old root",
      "signing",
      member(replica({ new: use(3, { usedBy: 1 }) })),
      "2 proxies have not acknowledged a certificate under the root",
    ],
    [
      "a trust file that nobody has seen used",
      "signing",
      member(replica({ new: use(3, { provenBy: 2, unproven: ["gateway~g.isthmus-system"] }) })),
      "gateway~g.isthmus-system have not connected by the root in their trust file",
    ],
    ["an Envoy that still trusts the old root", "revoked", member(replica()), "3 proxies still trust the old root"],
    [
      "a replica of several",
      "trusted",
      member(replica(), replica({ pod: "agent-1", bundleSequence: 8 })),
      "agent agent-1: has trust bundle 8, not 9",
    ],
    [
      "an agent of an older version",
      "trusted",
      { cluster: "east", replicas: [], silent: ["agent-0"] },
      "agent agent-0 is of a version that does not say what it trusts",
    ],
    ["a member that is away", "trusted", member(), "nothing is heard of its agents"],
  ])("not with %s", (_what, step, shown, reason) => {
    const { open, blockers } = gate(step, [shown]);
    expect([open, blockers.map((blocker) => blocker.reason)]).toEqual([false, [reason]]);
  });

  it("a sidecar that another replica serves is not lost", () => {
    const both = member(replica({ unserved: ["shop/a"] }), replica({ pod: "agent-1", unserved: ["shop/b"] }));
    expect(gate("trusted", [both]).open).toBe(true);
  });

  it("a member that is set aside is not waited for", () => {
    expect(gate("trusted", [member()], { setAside: ["east"] }).open).toBe(true);
  });

  it.each<[string, Step, ReplicaEvidence, string]>([
    ["without an agent", "trusted", replica({ unserved: ["shop/dead"] }), "shop/dead"],
    ["that hangs", "trusted", replica({ new: use(3, { trustedBy: 2, untrusting: ["sidecar~x"] }) }), "sidecar~x"],
    ["with an old leaf", "signing", replica({ new: use(3, { usedBy: 2, notUsing: ["sidecar~x"] }) }), "sidecar~x"],
    ["with an old file", "signing", replica({ new: use(3, { provenBy: 2, unproven: ["sidecar~x"] }) }), "sidecar~x"],
  ])("a proxy %s is not waited for once it is set aside; every other one is", (_what, step, shown, name) => {
    const open = (proxiesAside: readonly string[]) => gate(step, [member(shown)], { proxiesAside }).open;
    expect(open([])).toBe(false);
    expect(open([`east ${name}`])).toBe(true);
    expect(open([`west ${name}`])).toBe(false);
    expect(open([`east ${name}2`, "east sidecar~y"])).toBe(false);
  });

  it("a proxy that is set aside stands for itself alone, also among those without a name", () => {
    const lacking = replica({ new: use(3, { trustedBy: 1, untrusting: ["sidecar~x"] }) });
    const { open, blockers } = gate("trusted", [member(lacking)], { proxiesAside: ["east sidecar~x"] });
    expect([open, blockers[0]?.reason]).toEqual([false, "1 proxies have not acknowledged the root"]);
  });

  it("a root that cannot sign is not trusted", () => {
    expect(gate("prepared", [], {}, "the new root waits for its certificate")).toMatchObject({ open: false });
    expect(gate("prepared", [member()]).open).toBe(true);
  });

  it("the old root stays until the last certificate under it has ended", () => {
    expect(gate("retiring", [member(replica())], { retireAtMs: 3_500 })).toEqual({
      open: false,
      blockers: [{ cluster: "", reason: "certificates under the old root may live for another 3 s", away: false }],
    });
    expect(retireAtMs([member(replica(), replica({ svidTtlMs: 5_000 }))], 1_000, 300)).toBe(61_300);
  });

  it("an operator's hold keeps it closed", () => {
    expect(gate("signing", [member(replica())], { holdAt: "signing" }).open).toBe(false);
    expect(gate("signing", [member(replica())], { holdAt: "retiring" }).open).toBe(true);
  });
});

describe("an emergency", () => {
  const hastenedUntilMs = 2_000;

  it("waits for those that answer, and not for those that are away", () => {
    const late = member(replica({ bundleSequence: 8 }));
    expect(gate("trusted", [late], { hastenedUntilMs }).open).toBe(false);
    expect(gate("trusted", [member()], { hastenedUntilMs }).open).toBe(true);
  });

  it("waits for nobody when its time is up", () => {
    const late = member(replica({ bundleSequence: 8 }));
    const overdue = { rotation: rotation("trusted", { hastenedUntilMs }), members: [late], rootProblem: "" };
    expect(gateOf({ ...overdue, nowMs: hastenedUntilMs }).open).toBe(true);
  });

  it("does not wait for old certificates to end", () => {
    expect(gate("retiring", [member(replica())], { retireAtMs: 9_999_999, hastenedUntilMs }).open).toBe(true);
  });

  it("cannot trust a root that does not sign", () => {
    const overdue = { rotation: rotation("prepared", { hastenedUntilMs }), members: [], rootProblem: "locked" };
    expect(gateOf({ ...overdue, nowMs: 5_000 }).open).toBe(false);
  });
});
