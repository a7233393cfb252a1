import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { kekBytes, localKek, seal, unseal, type SealContext } from "./sealing.ts";

const context: SealContext = { fleetDomain: "acme.mesh", keyId: "1", purpose: "root" };
const kek = localKek(randomBytes(kekBytes));
const secret = Buffer.from("-----BEGIN PRIVATE KEY-----");

describe("a sealed key", () => {
  it("opens to what was sealed, and shows nothing of it", async () => {
    const text = await seal(secret, kek, context);
    expect(text).not.toContain("PRIVATE");
    expect(await unseal(text, kek, context)).toEqual({ ok: true, value: secret });
  });

  it("is another text each time", async () => {
    expect(await seal(secret, kek, context)).not.toBe(await seal(secret, kek, context));
  });

  it.each<[string, Partial<SealContext>]>([
    ["another fleet", { fleetDomain: "other.mesh" }],
    ["another key's place", { keyId: "2" }],
    ["another purpose", { purpose: "server" }],
  ])("does not open for %s: two files cannot be swapped", async (_what, change) => {
    const text = await seal(secret, kek, context);
    expect((await unseal(text, kek, { ...context, ...change })).ok).toBe(false);
  });

  it("does not open with another key-encryption key", async () => {
    const text = await seal(secret, kek, context);
    expect((await unseal(text, localKek(randomBytes(kekBytes)), context)).ok).toBe(false);
  });

  it("does not open when any byte of it was changed", async () => {
    const text = await seal(secret, kek, context);
    const { wrappedKey, sealed } = JSON.parse(text) as { wrappedKey: string; sealed: string };
    const opens = async (changed: object) => (await unseal(JSON.stringify({ v: 1, ...changed }), kek, context)).ok;
    const flip = (text: string, at: number) => {
      const bytes = Buffer.from(text, "base64");
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes.toString("base64");
    };
    for (let at = 0; at < Buffer.from(sealed, "base64").length; at += 1) {
      expect(await opens({ wrappedKey, sealed: flip(sealed, at) })).toBe(false);
    }
    for (let at = 0; at < Buffer.from(wrappedKey, "base64").length; at += 1) {
      expect(await opens({ wrappedKey: flip(wrappedKey, at), sealed })).toBe(false);
    }
  });

  it.each(["", "{}", "null", "[]", '{"v":2}', '{"v":1,"wrappedKey":"","sealed":""}'])("%j is refused", async (text) => {
    expect((await unseal(text, kek, context)).ok).toBe(false);
  });
});
