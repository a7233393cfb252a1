import { describe, expect, it } from "vitest";
import type { MeshInputs } from "../ir/inputs.ts";
import type { MeshIr } from "../ir/types.ts";
import type { ProxyClass, ProxyTrust } from "../xds/proxy.ts";
import type { ResourceSet, Snapshot } from "../xds/resource.ts";
import { createPusher, type PushStages } from "./pusher.ts";

const gateway: ProxyClass = { kind: "gateway" };
const trust: ProxyTrust = { rootsPem: "r", chainPem: "c", keyPem: "k" };
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** Stages that record what was published; `mesh` is the identity of the built IR. */
function fakeStages() {
  const state = {
    synced: true,
    mesh: {} as MeshIr,
    trust: trust as ProxyTrust | undefined,
    translateError: undefined as Error | undefined,
    problems: [] as string[],
    published: [] as string[],
    builds: 0,
    set: undefined as ResourceSet | undefined,
    encodes: 0,
  };
  const stages: PushStages = {
    inputs: () => (state.synced ? ({} as MeshInputs) : undefined),
    buildIr: () => {
      state.builds += 1;
      return { ir: state.mesh, problems: [] };
    },
    trustOf: () => state.trust,
    translate: () => {
      if (state.translateError) throw state.translateError;
      return state.set ?? ({} as ResourceSet);
    },
    encode: () => {
      state.encodes += 1;
      return {} as Snapshot;
    },
    check: () => [],
    publish: (key) => state.published.push(key),
    settled: (_ir, problems) => {
      state.problems = problems.map((problem) => problem.code);
    },
  };
  const failures: unknown[] = [];
  return { state, failures, pusher: createPusher(stages, (error) => failures.push(error)) };
}

describe("a push", () => {
  it("gathers every change of one turn of the event loop", async () => {
    const { state, pusher } = fakeStages();
    pusher.add({ key: "g", proxy: gateway });
    pusher.changed();
    pusher.changed();
    await nextTurn();
    expect(state).toMatchObject({ builds: 1, published: ["g"] });
  });

  it("publishes nothing when neither the mesh nor the credential changed", async () => {
    const { state, pusher } = fakeStages();
    pusher.add({ key: "g", proxy: gateway });
    await nextTurn();
    pusher.changed();
    await nextTurn();
    expect(state.published).toEqual(["g"]);
    state.trust = { ...trust };
    pusher.changed();
    await nextTurn();
    expect(state.published).toEqual(["g", "g"]);
  });

  it("of a change that does not concern a class neither encodes nor publishes anything for it", async () => {
    const { state, pusher } = fakeStages();
    state.set = {} as ResourceSet;
    pusher.add({ key: "g", proxy: gateway });
    await nextTurn();
    state.mesh = {} as MeshIr;
    pusher.changed();
    await nextTurn();
    expect(state).toMatchObject({ builds: 2, encodes: 1, published: ["g"] });
  });

  it("waits for complete first lists and for the proxy's credential", async () => {
    const { state, pusher } = fakeStages();
    state.synced = false;
    pusher.add({ key: "g", proxy: gateway });
    await nextTurn();
    expect(state.builds).toBe(0);
    Object.assign(state, { synced: true, trust: undefined });
    pusher.changed();
    await nextTurn();
    expect(state.published).toEqual([]);
  });

  it("keeps the last good configuration of a class that cannot be translated, and says why", async () => {
    const { state, failures, pusher } = fakeStages();
    pusher.add({ key: "g", proxy: gateway });
    await nextTurn();
    Object.assign(state, { mesh: {}, translateError: new Error("two routes with one name") });
    pusher.changed();
    await nextTurn();
    expect(state).toMatchObject({ published: ["g"], problems: ["ISTHMUS_TRANSLATION"] });
    expect(failures).toEqual([]);
  });
});
