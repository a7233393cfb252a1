// Which responses are shared, and when they must not be.
import { describe, expect, it } from "vitest";
import { aResource } from "../xds/testing/model-client.ts";
import { createResponseCache } from "./cache.ts";

describe("responses", () => {
  const batch = { type: "cds" as const, updates: [], removed: [], carried: [aResource("cds", "a", "1")] };

  it("are encoded once for all streams that are due the same", () => {
    const cache = createResponseCache();
    const first = cache.responseFor("delta", batch, "");
    expect(cache.responseFor("delta", { ...batch, carried: [...batch.carried] }, "")).toBe(first);
    expect(cache.responseFor("sotw", batch, "")).not.toBe(first);
    expect(cache.responseFor("delta", { ...batch, removed: ["b"] }, "")).not.toBe(first);
    expect(cache.encodes).toBe(3);
  });

  it("do not repeat a stream's last nonce, or an old answer would count for the new response", () => {
    const cache = createResponseCache();
    const first = cache.responseFor("delta", batch, "");
    expect(cache.responseFor("delta", batch, first.nonce).nonce).not.toBe(first.nonce);
  });
});
