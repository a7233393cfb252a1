// Whether the hub has said that this member is none any more. Pure; asked by member.ts at every change of the session.
import type { HubState } from "./session.ts";

const codes: ReadonlySet<string> = new Set(["ISTHMUS_MEMBER_REVOKED", "ISTHMUS_MEMBER_LEFT"]);

export type CutOff = HubState["problem"];

/** Stands until the hub takes the member again: that it falls silent afterwards lifts nothing. */
export function cutOffAfter(before: CutOff, { connected, problem }: HubState): CutOff {
  if (connected) return undefined;
  return codes.has(problem?.code ?? "") ? problem : before;
}
