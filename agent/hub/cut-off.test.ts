import { describe, expect, it } from "vitest";
import { cutOffAfter, type CutOff } from "./cut-off.ts";
import type { HubState } from "./session.ts";

const lost = (code: string): HubState => ({ connected: false, problem: { code, message: "the hub's word" } });
const connected: HubState = { connected: true, problem: undefined };
const after = (states: readonly HubState[]) => states.reduce<CutOff>(cutOffAfter, undefined)?.code;

describe("a member that the hub does not take any more", () => {
  it.each(["ISTHMUS_MEMBER_REVOKED", "ISTHMUS_MEMBER_LEFT"])(
    "is cut off by %s, also when the hub is silent afterwards",
    (code) => {
      expect(after([connected, lost(code), lost("ISTHMUS_HUB_UNREACHABLE")])).toBe(code);
    },
  );

  it("is none when the hub is away or refuses for another reason", () => {
    expect(after([lost("ISTHMUS_HUB_UNREACHABLE"), lost("ISTHMUS_AGENT_KEY_REPLACED")])).toBeUndefined();
  });

  it("is one again when the hub takes it", () => {
    expect(after([lost("ISTHMUS_MEMBER_REVOKED"), connected])).toBeUndefined();
  });
});
