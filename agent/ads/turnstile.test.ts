import { expect, it } from "vitest";
import { createTurnstile } from "./turnstile.ts";

it("lets only so many in at a time, in order, and lets others in after a failure", async () => {
  const turnstile = createTurnstile(2);
  const order: string[] = [];
  let inside = 0;
  let most = 0;
  const visit = (name: string, fails: boolean) =>
    turnstile.enter(async () => {
      most = Math.max(most, (inside += 1));
      order.push(name);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
      if (fails) throw new Error(name);
    });
  const visits = ["a", "b", "c", "d", "e"].map((name) => visit(name, name === "a" || name === "c"));
  const outcomes = await Promise.allSettled(visits);
  expect(outcomes.map((one) => one.status)).toEqual(["rejected", "fulfilled", "rejected", "fulfilled", "fulfilled"]);
  expect(order).toEqual(["a", "b", "c", "d", "e"]);
  expect(most).toBe(2);
  await turnstile.enter(() => Promise.resolve());
});
