import { describe, expect, it } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import type { Member, MemberState } from "./member.ts";
import { afterVerb, type MembershipVerb } from "./membership.ts";

function member(state: MemberState): Member {
  const agentSpkis = state === "left" ? [] : ["sha256/a"];
  return { cluster: "east" as ClusterName, state, agentSpkis, clusterCaSpki: "sha256/b", joinedAtMs: 1, tokenId: "t" };
}

/** Rows: state before; columns: what each verb makes of it. */
const table: readonly (readonly [MemberState, Readonly<Record<MembershipVerb, MemberState | "refused">>])[] = [
  ["pending", { accept: "accepted", reject: "left", leave: "refused", revoke: "refused", reinstate: "refused" }],
  ["accepted", { accept: "accepted", reject: "refused", leave: "left", revoke: "revoked", reinstate: "accepted" }],
  ["revoked", { accept: "refused", reject: "refused", leave: "refused", revoke: "revoked", reinstate: "accepted" }],
  ["left", { accept: "refused", reject: "left", leave: "left", revoke: "revoked", reinstate: "left" }],
];
const rows = table.flatMap(([before, verbs]) =>
  Object.entries(verbs).map(([verb, after]) => ({ before, verb: verb as MembershipVerb, after })),
);

describe("an operator's verb", () => {
  it.each(rows)("$verb makes a member that is $before $after", ({ before, verb, after }) => {
    const result = afterVerb(verb, member(before), 9);
    expect(result.ok ? result.value.state : "refused").toBe(after);
  });

  it("changes nothing when it is asked twice, so that nobody is woken", () => {
    const revoked = member("revoked");
    expect(afterVerb("revoke", revoked, 9)).toEqual({ ok: true, value: revoked });
  });

  it("takes the keys of a member that is rejected, which cannot come back by being reinstated", () => {
    const rejected = afterVerb("reject", member("pending"), 9);
    if (!rejected.ok) throw new Error("refused");
    const revoked = afterVerb("revoke", rejected.value, 9);
    if (!revoked.ok) throw new Error("refused");
    expect(afterVerb("reinstate", revoked.value, 9)).toMatchObject({
      ok: true,
      value: { state: "left", agentSpkis: [] },
    });
  });

  it("names the verb that fits when it does not", () => {
    const refused = afterVerb("revoke", member("pending"), 9);
    expect(refused.ok ? "" : refused.error[0]?.message).toContain("isthmus reject east");
  });
});
