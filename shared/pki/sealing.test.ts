import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { kekBytes, seal, unseal, type SealContext } from "./sealing.ts";

const context: SealContext = { fleetDomain: "acme.mesh", keyId: "1", purpose: "root" };
const kek = randomBytes(kekBytes);
const secret = Buffer.from("-----BEGIN PRIVATE KEY-----");

describe("a sealed key", () => {
  it("opens to what was sealed, and shows nothing of it", () => {
    const text = seal(secret, kek, context);
    expect(text).not.toContain("PRIVATE");
    expect(unseal(text, kek, context)).toEqual({ ok: true, value: secret });
  });

  it("is another text each time", () => {
    expect(seal(secret, kek, context)).not.toBe(seal(secret, kek, context));
  });

  it.each<[string, Partial<SealContext>]>([
    ["another fleet", { fleetDomain: "other.mesh" }],
    ["another key's place", { keyId: "2" }],
    ["another purpose", { purpose: "server" }],
  ])("does not open for %s: two files cannot be swapped", (_what, change) => {
    expect(unseal(seal(secret, kek, context), kek, { ...context, ...change }).ok).toBe(false);
  });

  it("does not open with another key-encryption key", () => {
    expect(unseal(seal(secret, kek, context), randomBytes(kekBytes), context).ok).toBe(false);
  });

  it("does not open when any byte of it was changed", () => {
    const { wrappedKey, sealed } = JSON.parse(seal(secret, kek, context)) as { wrappedKey: string; sealed: string };
    const flip = (text: string, at: number) => {
      const bytes = Buffer.from(text, "base64");
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes.toString("base64");
    };
    for (let at = 0; at < Buffer.from(sealed, "base64").length; at += 1) {
      expect(unseal(JSON.stringify({ v: 1, wrappedKey, sealed: flip(sealed, at) }), kek, context).ok).toBe(false);
    }
    for (let at = 0; at < Buffer.from(wrappedKey, "base64").length; at += 1) {
      expect(unseal(JSON.stringify({ v: 1, wrappedKey: flip(wrappedKey, at), sealed }), kek, context).ok).toBe(false);
    }
  });

  it.each(["", "{}", "null", "[]", '{"v":2}', '{"v":1,"wrappedKey":"","sealed":""}'])("%j is refused", (text) => {
    expect(unseal(text, kek, context).ok).toBe(false);
  });
});
