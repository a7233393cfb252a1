// What an operator does to members: accept, reject, revoke, reinstate. Recorded in the audit log first, then done; asking
// again finishes what a crash cut short, because every step is idempotent.
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import type { AuditLog } from "../audit/log.ts";
import type { Authority } from "../ca/authority.ts";
import type { Member } from "../registry/member.ts";
import { afterVerb, type MembershipVerb } from "../registry/membership.ts";
import type { Members } from "../store/members.ts";

export interface MembershipDeps {
  readonly authority: Authority;
  readonly members: Members;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly log: Log;
  /** The bundle is another: whoever watches must hear of it now. */
  readonly bundleChanged: () => void;
}

export interface MembershipAnswer {
  readonly cluster: ClusterName;
  readonly state: Member["state"];
  readonly bundleSequence: number;
}

const attempts = 5;

export async function changeMembership(
  deps: MembershipDeps,
  verb: MembershipVerb,
  name: unknown,
): Promise<MembershipAnswer> {
  const cluster = parseClusterName(typeof name === "string" ? name : "");
  if (!cluster.ok) throw new UserError("ISTHMUS_CLUSTER_NAME", cluster.error[0]?.message ?? "no cluster name");
  const { authority, audit, log } = deps;
  await expectAllowed(deps, verb, cluster.value);
  await audit.record({ action: `member.${verb}`, actor: "operator", subject: cluster.value, detail: {} });
  // signed first: from here on nothing that Redis says can let a revoked member in, or keep a reinstated one out
  if (verb === "revoke" || verb === "reinstate") {
    if (await authority.setRevoked(cluster.value, verb === "revoke")) deps.bundleChanged();
  }
  const { state } = await storeMember(deps, verb, cluster.value);
  const bundleSequence = authority.bundle().sequence;
  log.info("a member's standing was changed", { cluster: cluster.value, verb, state, bundleSequence });
  return { cluster: cluster.value, state, bundleSequence };
}

async function expectAllowed(
  { members, clock }: MembershipDeps,
  verb: MembershipVerb,
  cluster: ClusterName,
): Promise<void> {
  const stored = await members.stored(cluster);
  if (stored === undefined) {
    throw new UserError("ISTHMUS_MEMBER_UNKNOWN", `${cluster} is not a member of this fleet`, {
      hint: "isthmus clusters lists the members",
    });
  }
  allowed(verb, stored.member, clock.now());
}

function allowed(verb: MembershipVerb, member: Member, nowMs: number): Member {
  const after = afterVerb(verb, member, nowMs);
  if (after.ok) return after.value;
  const [problem] = after.error;
  throw new UserError(problem?.code ?? "ISTHMUS_MEMBER_STATE", problem?.message ?? "not possible now");
}

/** Compare-and-set: a renewal may write the same member at this moment. */
async function storeMember(
  { members, clock }: MembershipDeps,
  verb: MembershipVerb,
  cluster: ClusterName,
): Promise<Member> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const before = await members.stored(cluster);
    if (before === undefined) break;
    const after = allowed(verb, before.member, clock.now());
    if ((await members.rebind(before, after, [])) === "written") return after;
  }
  throw new UserError("ISTHMUS_MEMBER_CHANGED", `the membership of ${cluster} changes at this moment`, {
    hint: "run the command again: it finishes what it began",
  });
}
