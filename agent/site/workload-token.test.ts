import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { issueToken, verifyToken } from "./workload-token.ts";

const key = Buffer.alloc(32, 7);
const claims = { namespace: "shop", serviceAccount: "cart", name: "cart-1", expiresAtMs: 1_000_000 };
const token = issueToken(key, claims);

describe("a workload's token", () => {
  it("says who it is for, until its end", () => {
    expect(verifyToken(key, token, 999_999)).toEqual({ ok: true, value: claims });
    expect(verifyToken(key, token, 1_000_000)).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_TOKEN_REFUSED" }] });
  });

  it("of another site is refused", () => {
    expect(verifyToken(Buffer.alloc(32, 8), token, 0).ok).toBe(false);
  });

  it("is refused with any character changed, added or taken away", () => {
    const at = fc.nat({ max: token.length - 1 });
    fc.assert(
      fc.property(at, fc.constantFrom("A", "b", ".", "", "=="), (index, text) => {
        const changed = token.slice(0, index) + text + token.slice(index + 1);
        if (changed !== token) expect(verifyToken(key, changed, 0).ok).toBe(false);
      }),
    );
  });

  it.each(["", "isw1", "isw1..", "isw1.e30.", "a.b.c.d", "x".repeat(100_000)])("is not %j", (text) => {
    expect(verifyToken(key, text, 0).ok).toBe(false);
  });
});
