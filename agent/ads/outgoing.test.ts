import { describe, expect, it, vi } from "vitest";
import { createLineup } from "./lineup.ts";
import { createOutgoing } from "./outgoing.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("what is on its way to clients", () => {
  it("keeps further streams waiting when it is too much, and lets them go on when it is on the wire", async () => {
    const outgoing = createOutgoing({ maxBytes: 100, patienceMs: 60_000 });
    const arrivals: (() => void)[] = [];
    const served: string[] = [];
    const lineup = createLineup<string>((stream) => {
      served.push(stream);
      arrivals.push(outgoing.add(60));
    }, outgoing.hasRoom);
    lineup.open();
    for (const stream of ["a", "b", "c", "d"]) lineup.wake(stream);
    for (let turns = 0; turns < 5; turns += 1) await turn();
    expect(served).toEqual(["a", "b"]);
    arrivals.shift()?.();
    for (let turns = 0; turns < 5; turns += 1) await turn();
    expect(served).toEqual(["a", "b", "c"]);
    for (const arrived of arrivals.splice(0)) arrived();
    for (let turns = 0; turns < 5; turns += 1) await turn();
    expect(served).toEqual(["a", "b", "c", "d"]);
  });

  it("does not wait for a client that does not read", async () => {
    const outgoing = createOutgoing({ maxBytes: 100, patienceMs: 20 });
    const never = outgoing.add(1_000);
    const again = vi.fn();
    expect(outgoing.hasRoom(again)).toBe(false);
    await vi.waitFor(() => expect(again).toHaveBeenCalledOnce());
    expect(outgoing.hasRoom(again)).toBe(true);
    // when it reads after all, nothing is counted twice
    never();
    expect(outgoing.hasRoom(again)).toBe(true);
  });
});
