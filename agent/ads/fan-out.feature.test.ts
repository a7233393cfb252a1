// One push to many streams, with clients in another process. The bar is the bench's; here it must only reach everybody, once.
import { expect, it } from "vitest";
import { measureFanOut } from "./testing/fan-out.ts";

it("brings one changed assignment to every stream, and nothing else", { timeout: 120_000 }, async () => {
  const figures = await measureFanOut({ streams: 24, services: 10, rounds: 2, tls: true });
  expect(figures.lastMs).not.toBeNaN(); // of every stream
  // one assignment of eleven endpoints, not ten of them
  expect(figures.bytesPerStream).toBeGreaterThan(200);
  expect(figures.bytesPerStream).toBeLessThan(1_000);
});
