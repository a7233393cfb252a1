// What may become of a member: the operator's verbs as a table of states. Pure.
import type { Result } from "../../shared/result.ts";
import { ok, rejected } from "../../shared/result.ts";
import type { Member, MemberState } from "./member.ts";

export type MembershipVerb = "accept" | "reject" | "leave" | "revoke" | "reinstate";

interface Verb {
  readonly from: readonly MemberState[];
  readonly after: (member: Member, nowMs: number) => Member;
  /** Completes "<cluster> ...", for a state that is not in `from`. */
  readonly refusal: string;
  readonly hint: string;
}

/** Without keys it can call the hub no more, whatever its state becomes. */
const gone = (member: Member): Member => ({ ...member, state: "left", agentSpkis: [] });

const verbs: Readonly<Record<MembershipVerb, Verb>> = {
  accept: {
    from: ["pending", "accepted"],
    after: (member, acceptedAtMs) => ({ ...member, state: "accepted", acceptedAtMs }),
    refusal: "does not wait to be accepted",
    hint: "isthmus clusters",
  },
  reject: {
    from: ["pending", "left"],
    after: gone,
    refusal: "does not wait to be accepted",
    hint: "to cut a member off: isthmus revoke NAME",
  },
  leave: {
    from: ["accepted", "left"],
    after: gone,
    refusal: "is not a member that could leave",
    hint: "isthmus clusters",
  },
  revoke: {
    // a member that left keeps certificates for days; one that waits has none
    from: ["accepted", "left", "revoked"],
    after: (member) => ({ ...member, state: "revoked" }),
    refusal: "has no certificate yet",
    hint: "isthmus reject NAME",
  },
  reinstate: {
    from: ["revoked", "accepted", "left"],
    after: (member) => (member.agentSpkis.length === 0 ? gone(member) : { ...member, state: "accepted" }),
    refusal: "was never revoked",
    hint: "isthmus accept NAME",
  },
};

/** The member as the verb leaves it: the very same when it is so already, because who asks twice is told that it is done. */
export function afterVerb(verb: MembershipVerb, member: Member, nowMs: number): Result<Member> {
  const { from, after, refusal, hint } = verbs[verb];
  const { cluster, state } = member;
  if (!from.includes(state)) {
    return rejected(
      "ISTHMUS_MEMBER_STATE",
      `${cluster} ${refusal}: it is ${state}; next: ${hint.replace("NAME", cluster)}`,
    );
  }
  const next = after(member, nowMs);
  return ok(next.state === state ? member : next);
}
