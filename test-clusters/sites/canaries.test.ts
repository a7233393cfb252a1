import { describe, expect, it } from "vitest";
import { formatJoinToken, parseJoinToken } from "../../shared/join-token.ts";
import { generateKeyPem } from "../../shared/pki/key.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { findCanaries, formsOf, keyForms, tokenForms } from "./canaries.ts";

const pem = generateKeyPem();
const canary = { from: "a key", forms: keyForms(JSON.stringify({ key: pem })) };
const sink = (content: string) => findCanaries([canary], [{ name: "a log", content }]);

describe("a secret is found", () => {
  it("as PEM, in JSON too", () => {
    expect(sink(pem)).toContain("a key <- a log");
    expect(sink(JSON.stringify({ pem }))).toContain("a key <- a log");
  });

  it("as the bare number of the key, in base64, base64url and hex", () => {
    const jwk = Buffer.from(pem.split("\n").slice(1, -2).join(""), "base64").subarray(36, 68);
    for (const form of ["hex", "base64", "base64url"] as const)
      expect(sink(`d=${jwk.toString(form)}`)).toEqual(["a key <- a log"]);
  });

  it("as a token, and as the secret in it alone", () => {
    const secret = Buffer.alloc(32, 9);
    const facts = { id: "0123456789abcdef", secret, cluster: "east" as ClusterName, hub: "h:1", expiresAtMs: 1 };
    const text = formatJoinToken({ ...facts, pin: `sha256/${"A".repeat(43)}` });
    expect(parseJoinToken(text).ok).toBe(true);
    const token = { from: "a token", forms: tokenForms(text) };
    for (const content of [text, ...formsOf(secret)])
      expect(findCanaries([token], [{ name: "argv", content: `--token=${content}` }])).toEqual(["a token <- argv"]);
  });

  it("not where only the public half is, nor an id", () => {
    expect(sink("sha256/AAAA and 0123456789abcdef")).toEqual([]);
  });

  it("by its header, whosever it is", () => {
    expect(findCanaries([], [{ name: "a dump", content: generateKeyPem() }])).toEqual(["a private key <- a dump"]);
  });
});
