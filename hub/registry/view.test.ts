import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RegistryChange, RegistryRecord } from "../../shared/registry.ts";
import { RegistryView, type QuietChange } from "./view.ts";

type Change = RegistryChange | QuietChange;

function gateway(cluster: string, port: number): RegistryRecord {
  return { kind: "gateway", cluster, addresses: [{ host: "192.0.2.1", port }], region: "", zone: "" };
}

/** Any history of a registry: puts, deletes and quiet revisions over a few keys. */
const histories = fc
  .array(fc.record({ op: fc.constantFrom("put", "put", "delete", "quiet"), at: fc.nat(4), port: fc.nat(9) }), {
    maxLength: 60,
  })
  .map((steps): Change[] =>
    steps.map(({ op, at, port }, index) => {
      const revision = index + 1;
      const key = `c${at}/gateway`;
      if (op === "quiet") return { op: "quiet", revision };
      if (op === "delete") return { op: "delete", key, revision };
      return { op: "put", key, revision, record: gateway(`c${at}`, port) };
    }),
  );

function emptyView(capacity?: number): RegistryView {
  return new RegistryView({ incarnation: "i", revision: 0, records: [] }, capacity);
}

const state = (view: RegistryView) => new Map(view.list().map(({ key, record }) => [key, record]));

/** A watcher that only ever sees what a hub would send it. */
class Follower {
  readonly held = new Map<string, RegistryRecord>();
  cursor = 0;
  lists = 0;

  catchUp(view: RegistryView): void {
    const changes = view.since(this.cursor);
    if (changes === undefined) {
      this.lists += 1;
      this.held.clear();
      for (const { key, record } of view.list()) this.held.set(key, record);
    }
    for (const change of changes ?? []) {
      if (change.op === "put") this.held.set(change.key, change.record);
      else if (change.op === "delete") this.held.delete(change.key);
    }
    this.cursor = view.revision;
  }
}

describe("the view", () => {
  it("comes to the same state however the feed repeats itself", () => {
    fc.assert(
      fc.property(histories, fc.array(fc.nat(60)), (history, repeats) => {
        const once = emptyView();
        for (const change of history) expect(once.apply(change)).toBe("applied");
        const again = emptyView();
        history.forEach((change, at) => {
          again.apply(change);
          for (const back of repeats) again.apply(history[Math.max(0, at - back)]!);
        });
        expect(state(again)).toEqual(state(once));
        expect(again.revision).toBe(once.revision);
      }),
    );
  });

  it("comes to the same state from a snapshot anywhere in the history", () => {
    fc.assert(
      fc.property(histories, fc.nat(60), (history, cut) => {
        const whole = emptyView();
        const prefix = emptyView();
        history.forEach((change, at) => {
          whole.apply(change);
          if (at < cut) prefix.apply(change);
        });
        const from = new RegistryView({ incarnation: "i", revision: prefix.revision, records: prefix.list() });
        for (const change of history) from.apply(change);
        expect(state(from)).toEqual(state(whole));
      }),
    );
  });

  it("brings every watcher to its state, whenever it looks and however little the log keeps", () => {
    fc.assert(
      fc.property(
        histories,
        fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
        fc.integer({ min: 1, max: 8 }),
        (history, looks, capacity) => {
          const view = emptyView(capacity);
          const follower = new Follower();
          history.forEach((change, at) => {
            view.apply(change);
            if (looks[at] === true) follower.catchUp(view);
          });
          follower.catchUp(view);
          expect(follower.held).toEqual(state(view));
        },
      ),
    );
  });

  it("reports a missing revision instead of guessing", () => {
    const view = emptyView();
    view.apply({ op: "quiet", revision: 1 });
    expect(view.apply({ op: "delete", key: "c/gateway", revision: 3 })).toBe("gap");
    expect(view.revision).toBe(1);
  });

  it("has no answer for a cursor from the future or from before its log", () => {
    const view = new RegistryView({ incarnation: "i", revision: 10, records: [] });
    expect(view.since(11)).toBeUndefined();
    expect(view.since(9)).toBeUndefined();
    expect(view.since(10)).toEqual([]);
  });

  it("recalls the changes before a snapshot only when they lead up to it without a hole", () => {
    const quiet = (revision: number): QuietChange => ({ op: "quiet", revision });
    const view = new RegistryView({ incarnation: "i", revision: 10, records: [] });
    view.recall([quiet(7), quiet(9), quiet(10)]);
    expect(view.since(9)).toBeUndefined();
    view.recall([quiet(8), quiet(9), quiet(10)]);
    expect(view.since(7)).toHaveLength(3);
    expect(view.since(6)).toBeUndefined();
  });
});
