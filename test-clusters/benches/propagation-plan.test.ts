import { describe, expect, it } from "vitest";
import type { LocalEndpoint, RemoteBackend } from "../../agent/ir/types.ts";
import { loadAssignment } from "../../agent/xds/endpoints.ts";
import { delaysMs, isSame, planSteps, podCount, stateBefore, stateOf, type SliceState } from "./propagation-plan.ts";
import { edsScale } from "./propagation-objects.ts";

const noPods: readonly LocalEndpoint[] = [];

function backend({ ready, total }: SliceState, gateways: number): RemoteBackend {
  return {
    cluster: "west" as RemoteBackend["cluster"],
    priority: 0,
    region: "",
    zone: "",
    sni: "p8080.weights.bench.east.west.sni.acme.mesh",
    gateways: Array.from({ length: gateways }, (_, index) => ({ host: `198.18.0.${index + 1}`, port: 15443 })),
    ready,
    total,
  };
}

describe("the plan", () => {
  const steps = planSteps(200);

  it("changes something with every step", () => {
    const before = [stateBefore, ...steps.map((step) => step.state)];
    expect(steps.filter((step, index) => isSame(step.state, before[index] ?? stateBefore))).toEqual([]);
  });

  it("goes from one endpoint to none or back with every tenth change, and with no other", () => {
    const before = [stateBefore, ...steps.map((step) => step.state)];
    const turns = steps.flatMap(({ kind, state }, index) =>
      kind === "weight" ? [] : [{ index, kind, from: before[index], to: state }],
    );
    expect(turns).toHaveLength(20);
    const one = { ready: 1, total: 1 };
    const unready = { ready: 0, total: 1 };
    const none = { ready: 0, total: 0 };
    expect(turns.slice(0, 4)).toEqual([
      { index: 0, kind: "close", from: one, to: none },
      { index: 10, kind: "open", from: none, to: one },
      { index: 20, kind: "close", from: one, to: unready },
      { index: 30, kind: "open", from: unready, to: one },
    ]);
    expect(
      steps.filter(({ kind, state }, index) => {
        const crossed = (before[index]?.ready === 0) !== (state.ready === 0);
        return crossed !== (kind !== "weight");
      }),
    ).toEqual([]);
  });

  it("never needs more pods than there are", () => {
    expect(Math.max(...steps.map(({ state }) => state.total))).toBe(podCount);
  });

  it.each([1, 2, 3])("is read back from the product's own EDS with %i gateways", (gateways) => {
    for (const { state } of steps) {
      const assignment = loadAssignment({
        ...{ name: "n", local: noPods, requestsTo: "n" },
        remote: [backend(state, gateways)],
      });
      expect(stateOf(assignment as never, edsScale)).toEqual(state);
    }
  });
});

describe("the delay of a write", () => {
  const s = (ready: number): SliceState => ({ ready, total: ready });
  const writes = [1, 2, 3, 2].map((ready, index) => ({
    state: s(ready),
    sentAtMs: index * 100 - 10,
    answeredAtMs: index * 100,
  }));

  it.each([
    {
      name: "ends with the ACK that carries it",
      acks: [
        [1, 30],
        [2, 140],
        [3, 250],
        [2, 360],
      ],
      want: [30, 40, 50, 60],
    },
    {
      name: "ends with the ACK of a later one that overtook it",
      acks: [
        [3, 250],
        [2, 320],
      ],
      want: [250, 150, 50, 20],
    },
    {
      name: "is taken at its longest when an ACK could be of two writes",
      acks: [
        [2, 320],
        [3, 330],
        [2, 340],
      ],
      want: [320, 220, 130, 40],
    },
    { name: "is not known without an ACK", acks: [[1, 30]], want: [30, undefined, undefined, undefined] },
    {
      name: "is not known by an ACK from before the write",
      acks: [[3, 150]],
      want: [undefined, undefined, undefined, undefined],
    },
    {
      name: "is not shortened by an ACK of the state before the first",
      acks: [
        [9, 1],
        [1, 30],
      ],
      want: [30, undefined, undefined, undefined],
    },
    {
      name: "is nothing when the change was there before the answer",
      acks: [[1, -5]],
      want: [0, undefined, undefined, undefined],
    },
  ])("$name", ({ acks, want }) => {
    expect(
      delaysMs(
        writes,
        acks.map(([ready = 0, atMs = 0]) => ({ state: s(ready), atMs })),
      ),
    ).toEqual(want);
  });
});
