// A whole fleet in a model: members that hear late, renew late, restart, go away and come back; a hub that is killed at any
// point and operators who change their minds. Whatever the order, every live certificate chains to a root that every live
// proxy trusts; and once everybody answers, the rotation ends.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MemberEvidence, RootUse } from "./evidence.ts";
import { gateOf } from "./gate.ts";
import {
  advance,
  nextStep,
  rollBack,
  setAside,
  signingRoot,
  startRotation,
  trustedRoots,
  type FleetTrust,
} from "./rotation.ts";

interface ModelProxy {
  trusts: readonly string[];
  leaf: string;
  proven: string;
}

interface ModelMember {
  readonly name: string;
  online: boolean;
  /** An operator has said that nobody waits for it: what becomes of it then is its own affair. */
  everAside: boolean;
  sequence: number;
  roots: readonly string[];
  ca: string;
  /** The hub has signed it and the member has not used it yet. */
  onItsWay: string | undefined;
  proxies: ModelProxy[];
}

type MemberEvent =
  | { readonly kind: "deliver" | "ask" | "take" | "report" | "toggle" | "restart"; readonly member: number }
  | { readonly kind: "sync" | "prove"; readonly member: number; readonly proxy: number };

type Event =
  | MemberEvent
  | { readonly kind: "look" }
  | { readonly kind: "kill" }
  | { readonly kind: "start" }
  | { readonly kind: "rollBack" }
  | { readonly kind: "setAside"; readonly member: number }
  | { readonly kind: "round"; readonly member: number; readonly synced: readonly boolean[]; readonly reports: boolean };

const memberCount = 3;
const proxyCount = 2;
const everyProxy: readonly boolean[] = Array.from({ length: proxyCount }, () => true);

class Model {
  #stored: FleetTrust = { roots: [{ id: "r0", state: "signing" }], bundle: { sequence: 1 } };
  #heard = new Map<string, MemberEvidence>();
  #made = 0;
  #nowMs = 0;
  readonly members: ModelMember[] = Array.from({ length: memberCount }, (_, at) => ({
    name: `m${at}`,
    online: true,
    everAside: false,
    sequence: 1,
    roots: ["r0"],
    ca: "r0",
    onItsWay: undefined,
    proxies: Array.from({ length: proxyCount }, () => ({ trusts: ["r0"], leaf: "r0", proven: "r0" })),
  }));

  get trust(): FleetTrust {
    return this.#stored;
  }

  apply(event: Event): void {
    this.#nowMs += 1;
    if (event.kind === "look") this.#look();
    // what is not in fleet.json is gone; a rename is whole or has not been
    else if (event.kind === "kill") this.#heard = new Map();
    else if (event.kind === "start") {
      this.#made += 1;
      this.#keep(startRotation(this.#stored, { id: `r${this.#made}`, state: "prepared" }, this.#nowMs));
    } else if (event.kind === "rollBack") this.#keep(rollBack(this.#stored, this.#nowMs));
    else if (event.kind === "setAside") this.#setAside(this.members[event.member]!);
    else if (event.kind === "round") this.#round(event);
    else this.#member(event);
  }

  #setAside(member: ModelMember): void {
    if (this.#stored.rotation !== undefined) member.everAside = true;
    this.#keep(setAside(this.#stored, member.name, true));
  }

  /** What a member does by itself before its next report: all of it, or some of its proxies are late, or the report is lost. */
  #round({ member, synced, reports }: Extract<Event, { readonly kind: "round" }>): void {
    for (const kind of ["deliver", "ask", "take"] as const) this.apply({ kind, member });
    for (const [proxy, done] of synced.entries()) {
      if (done) this.apply({ kind: "sync", member, proxy });
      if (done) this.apply({ kind: "prove", member, proxy });
    }
    if (reports) this.apply({ kind: "report", member });
  }

  #keep(next: { ok: true; value: FleetTrust } | { ok: false }): void {
    // as it is written and read back
    if (next.ok) this.#stored = JSON.parse(JSON.stringify(next.value)) as FleetTrust;
  }

  #look(): void {
    const { rotation } = this.#stored;
    if (rotation === undefined) return;
    const nobody = (name: string): MemberEvidence => ({ cluster: name, replicas: [], silent: [] });
    const members = this.members.map(({ name }) => this.#heard.get(name) ?? nobody(name));
    const gate = gateOf({ rotation, members, rootProblem: "", nowMs: this.#nowMs });
    if (gate.open) this.#keep({ ok: true, value: advance(this.#stored, this.#nowMs) });
  }

  #member(event: MemberEvent): void {
    const member = this.members[event.member]!;
    if (event.kind === "toggle") {
      member.online = !member.online;
      if (!member.online) this.#heard.delete(member.name);
    }
    // an answer that was not kept is lost; the kept state comes back
    if (event.kind === "restart") member.onItsWay = undefined;
    if (event.kind === "prove") member.proxies[event.proxy]!.proven = member.ca;
    if (event.kind === "sync") Object.assign(member.proxies[event.proxy]!, { trusts: member.roots, leaf: member.ca });
    if (event.kind === "take") take(member);
    if (member.online) this.#talk(event.kind, member);
  }

  #talk(kind: MemberEvent["kind"], member: ModelMember): void {
    const { roots, bundle } = this.#stored;
    if (kind === "deliver" && bundle.sequence > member.sequence) {
      Object.assign(member, { sequence: bundle.sequence, roots: trustedRoots(roots).map(({ id }) => id) });
    }
    const signing = signingRoot(this.#stored)!.id;
    if (kind === "ask" && member.sequence >= bundle.sequence && member.ca !== signing) member.onItsWay = signing;
    if (kind === "report") this.#heard.set(member.name, evidenceOf(member));
  }
}

/** The member checks what it is given against what it trusts. */
function take(member: ModelMember): void {
  if (member.onItsWay !== undefined && member.roots.includes(member.onItsWay)) member.ca = member.onItsWay;
  member.onItsWay = undefined;
}

function evidenceOf({ name, sequence, roots, ca, onItsWay, proxies }: ModelMember): MemberEvidence {
  const count = (fits: (proxy: ModelProxy) => boolean) => proxies.filter(fits).length;
  const known = new Set([...roots, ca, ...proxies.flatMap(({ trusts, leaf }) => [...trusts, leaf])]);
  const uses = [...known].map((root): readonly [string, RootUse] => [
    root,
    {
      trustedBy: count(({ trusts }) => trusts.includes(root)),
      usedBy: count(({ leaf }) => leaf === root),
      provenBy: count(({ proven }) => proven === root),
      agentCertificate: ca === root,
      clusterCa: onItsWay === undefined && ca === root,
      untrusting: [],
      notUsing: [],
      unproven: [],
    },
  ]);
  const counts = { bundleSequence: sequence, proxies: proxies.length, unserved: [], svidTtlMs: 0 };
  return { cluster: name, replicas: [{ pod: "agent", ...counts, roots: new Map(uses) }], silent: [] };
}

/** What would fail a request, or strand a member. */
function broken({ trust, members }: Model): readonly string[] {
  const bundle = trustedRoots(trust.roots).map(({ id }) => id);
  const live = members.filter(({ everAside }) => !everAside);
  const proxies = live.flatMap((member) => member.proxies);
  const signers = trust.roots.filter(({ state }) => state === "signing").length;
  return [
    ...(signers === 1 ? [] : [`${signers} roots sign`]),
    ...live.filter(({ ca }) => !bundle.includes(ca)).map(({ name, ca }) => `the bundle lacks ${ca}, of ${name}`),
    ...proxies.flatMap(({ leaf }) => (bundle.includes(leaf) ? [] : [`the bundle lacks ${leaf}, of a leaf`])),
    ...proxies.flatMap(({ leaf }) =>
      proxies
        .filter(({ trusts }) => !trusts.includes(leaf))
        .map(({ trusts }) => `${leaf} is not among ${trusts.join()}`),
    ),
  ];
}

const member = fc.nat(memberCount - 1);
const proxy = fc.nat(proxyCount - 1);
const ofMember = (kind: "deliver" | "ask" | "take" | "report" | "toggle" | "restart") =>
  fc.record({ kind: fc.constant(kind), member });
const ofProxy = (kind: "sync" | "prove") => fc.record({ kind: fc.constant(kind), member, proxy });
const ofFleet = <Kind extends "look" | "kill" | "start" | "rollBack">(kind: Kind) => fc.constant({ kind });

const mostly = fc.integer({ min: 0, max: 4 }).map((value) => value > 0);
const round = fc.record({
  kind: fc.constant("round" as const),
  member,
  synced: fc.array(mostly, { minLength: proxyCount, maxLength: proxyCount }),
  reports: mostly,
});

const events: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: ofMember("deliver") },
  { weight: 4, arbitrary: ofMember("ask") },
  { weight: 4, arbitrary: ofMember("take") },
  { weight: 8, arbitrary: ofMember("report") },
  { weight: 8, arbitrary: ofProxy("sync") },
  { weight: 5, arbitrary: ofProxy("prove") },
  { weight: 8, arbitrary: ofFleet("look") },
  { weight: 1, arbitrary: ofMember("toggle") },
  { weight: 1, arbitrary: ofMember("restart") },
  { weight: 1, arbitrary: ofFleet("kill") },
  { weight: 2, arbitrary: ofFleet("start") },
  { weight: 1, arbitrary: ofFleet("rollBack") },
  { weight: 12, arbitrary: round },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("setAside" as const), member }) },
);

// long ones, for a rotation takes some: fast-check's own choice is a dozen
const someEvents = fc.array(events, { maxLength: 250, size: "max" });

/** Everybody answers: what each does by itself, until nothing runs any more. */
function settle(model: Model): void {
  for (const each of model.members)
    if (!each.online) model.apply({ kind: "toggle", member: model.members.indexOf(each) });
  for (let turn = 0; turn < 12 && model.trust.rotation !== undefined; turn += 1) {
    for (let at = 0; at < memberCount; at += 1)
      model.apply({ kind: "round", member: at, synced: everyProxy, reports: true });
    model.apply({ kind: "look" });
  }
}

describe("a rotation among members that do what they like, and a hub that is killed at any point", () => {
  it("never leaves a live certificate without a root that everybody trusts", () => {
    fc.assert(
      fc.property(someEvents, (list) => {
        const model = new Model();
        model.apply({ kind: "start" });
        for (const event of list) {
          model.apply(event);
          expect(broken(model)).toEqual([]);
        }
      }),
      { numRuns: 400 },
    );
  });

  it("ends once everybody answers, wherever it was, and nothing is broken on the way", () => {
    const steps = new Set<string>();
    fc.assert(
      fc.property(someEvents, (list) => {
        const model = new Model();
        model.apply({ kind: "start" });
        for (const event of list) model.apply(event);
        if (model.trust.rotation !== undefined) steps.add(model.trust.rotation.step);
        settle(model);
        expect([model.trust.rotation, broken(model)]).toEqual([undefined, []]);
        expect(model.trust.roots).toHaveLength(1);
      }),
      { numRuns: 400 },
    );
    // the property would hold for a machine that never moves, too
    expect([...steps].sort()).toEqual(Object.keys(nextStep).sort());
  });
});
