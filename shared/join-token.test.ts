import { describe, expect, it } from "vitest";
import type { ClusterName } from "./ids.ts";
import { formatJoinToken, parseJoinToken, type JoinToken } from "./join-token.ts";

const token: JoinToken = {
  id: "0123456789abcdef",
  secret: Buffer.alloc(32, 9),
  cluster: "east" as ClusterName,
  hub: "hub.acme.example:8443",
  pin: `sha256/${"A".repeat(43)}`,
  expiresAtMs: 1_790_000_000_000,
};

const codeOf = (text: string) => {
  const parsed = parseJoinToken(text);
  return parsed.ok ? "ok" : parsed.error[0]?.code;
};

describe("a join token", () => {
  it("is one line that is read back whole, with white space around it", () => {
    const text = formatJoinToken(token);
    expect(text).toMatch(/^isthmus1\.[A-Za-z0-9_-]+$/);
    expect(parseJoinToken(`\n ${text}\n`)).toEqual({ ok: true, value: token });
  });

  it.each(["[2001:db8::1]:8443", "10.0.0.1:1", "localhost:8443"])("may name the hub as %s", (hub) => {
    expect(codeOf(formatJoinToken({ ...token, hub }))).toBe("ok");
  });

  it.each([
    ["another text", "hello"],
    ["a cut one", formatJoinToken(token).slice(0, -10)],
    ["a later version", formatJoinToken(token).replace("isthmus1", "isthmus2")],
    ["a huge one", `isthmus1.${"A".repeat(100_000)}`],
    ["a short secret", formatJoinToken({ ...token, secret: Buffer.alloc(8) })],
    ["a hub without a port", formatJoinToken({ ...token, hub: "hub" })],
    ["a pin of another form", formatJoinToken({ ...token, pin: "md5/x" })],
  ])("is not %s", (_, text) => {
    expect(codeOf(text)).toBe("ISTHMUS_TOKEN_MALFORMED");
  });

  it("names a cluster, and its secret is in no message about it", () => {
    expect(codeOf(formatJoinToken({ ...token, cluster: "East" as ClusterName }))).toBe("ISTHMUS_CLUSTER_NAME");
    const broken = parseJoinToken(formatJoinToken({ ...token, id: "!" }));
    expect(JSON.stringify(broken)).not.toContain(Buffer.from(token.secret).toString("base64url").slice(0, 8));
  });
});
