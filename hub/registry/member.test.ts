import { describe, expect, it } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { decodeMember, encodeMember, memberKey, renewedSpkis, type Member } from "./member.ts";
import { mayImport } from "./visibility.ts";

const west = "west" as ClusterName;
const member: Member = {
  cluster: west,
  state: "accepted",
  agentSpkis: ["sha256/a"],
  clusterCaSpki: "sha256/b",
  joinedAtMs: 1,
  tokenId: "t",
};

describe("a member", () => {
  it("is read back as it was stored, under its own key only", () => {
    expect(decodeMember(memberKey(west), encodeMember(member))).toEqual({ ok: true, value: member });
    expect(decodeMember("!member/east", encodeMember(member)).ok).toBe(false);
    expect(decodeMember(memberKey(west), encodeMember({ ...member, state: "root" as never })).ok).toBe(false);
    expect(decodeMember(memberKey(west), "{").ok).toBe(false);
  });

  it("keeps the key that asked for a renewal, however often replies are lost", () => {
    expect(renewedSpkis("old", "new-1")).toEqual(["old", "new-1"]);
    expect(renewedSpkis("old", "new-2")).toEqual(["old", "new-2"]);
    expect(renewedSpkis("new-2", "new-3")).toEqual(["new-2", "new-3"]);
    expect(renewedSpkis("same", "same")).toEqual(["same"]);
  });

  it("imports what others export, never its own", () => {
    expect(mayImport(west, "east/service/shop/cart")).toBe(true);
    expect(mayImport(west, "west2/gateway")).toBe(true);
    expect(mayImport(west, "west/gateway")).toBe(false);
  });
});
