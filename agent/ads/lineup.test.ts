// Who is served when, by turns of the event loop.
import { describe, expect, it } from "vitest";
import { createLineup } from "./lineup.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("streams that have work", () => {
  it("are served once however often they are woken, in the order they came", async () => {
    const served: string[] = [];
    const lineup = createLineup<string>((stream) => served.push(stream));
    lineup.open();
    for (const stream of ["a", "b", "a", "b", "a"]) lineup.wake(stream);
    await turn();
    expect(served).toEqual(["a", "b"]);
  });

  it("are not served before the agent has complete data, nor after they ended", async () => {
    const served: string[] = [];
    const lineup = createLineup<string>((stream) => served.push(stream));
    lineup.wake("a");
    lineup.wake("b");
    await turn();
    expect(served).toEqual([]);
    lineup.forget("b");
    lineup.open();
    await turn();
    expect(served).toEqual(["a"]);
  });

  it("leave room for others: a long line is served in several turns", async () => {
    const order: string[] = [];
    const lineup = createLineup<number>((stream) => {
      order.push(String(stream));
      const end = performance.now() + 3;
      while (performance.now() < end);
    });
    lineup.open();
    for (let stream = 0; stream < 5; stream += 1) lineup.wake(stream);
    setImmediate(() => order.push("other"));
    while (order.length < 6) await turn();
    expect(order.indexOf("other")).toBeLessThan(4);
  });
});
