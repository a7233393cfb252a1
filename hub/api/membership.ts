// What an operator does to members: accept, reject, leave, revoke, reinstate. Recorded in the audit log first, then done; asking
// again finishes what a crash cut short, because every step is idempotent.
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import type { AuditLog } from "../audit/log.ts";
import type { Authority } from "../ca/authority.ts";
import type { Member } from "../registry/member.ts";
import { afterVerb, type MembershipVerb } from "../registry/membership.ts";
import type { Departures } from "../store/departures.ts";
import type { Members } from "../store/members.ts";
import type { RedisRegistry } from "../store/redis-registry.ts";
import type { Tokens } from "../store/tokens.ts";
import { backdateMs } from "../../shared/pki/template.ts";

export interface MembershipDeps {
  readonly authority: Authority;
  readonly members: Members;
  readonly tokens: Tokens;
  readonly registry: RedisRegistry;
  readonly departures: Departures;
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
  actor = "operator",
): Promise<MembershipAnswer> {
  const cluster = parseClusterName(typeof name === "string" ? name : "");
  if (!cluster.ok) throw new UserError("ISTHMUS_CLUSTER_NAME", cluster.error[0]?.message ?? "no cluster name");
  const { authority, audit, log } = deps;
  const planned = await expectAllowed(deps, verb, cluster.value);
  await audit.record({ action: `member.${verb}`, actor, subject: cluster.value, detail: {} });
  // signed first: from here on nothing that Redis says can let a revoked member in, or keep a reinstated one out
  await settleTrust(deps, verb, planned);
  const { state } = await storeMember(deps, verb, cluster.value);
  if (state === "left") {
    await withdrawTokens(deps, cluster.value);
    await withdrawRecords(deps, cluster.value);
  }
  const bundleSequence = authority.bundle().sequence;
  log.info("a member's standing was changed", { cluster: cluster.value, verb, state, bundleSequence });
  return { cluster: cluster.value, state, bundleSequence };
}

/** Who has left is denied like who is revoked: its certificates are valid for days, and its keys may be anywhere by then. */
async function settleTrust(
  { authority, departures, bundleChanged }: MembershipDeps,
  verb: MembershipVerb,
  { cluster, state }: Member,
): Promise<void> {
  if (verb === "accept") return;
  // who waits has no certificate, but the name may have had another life: a token with --rejoin takes it over
  if (verb === "reject" && authority.clusterCaTrustedUntilMs(cluster, backdateMs) === 0) return;
  const denied = state !== "accepted";
  // written before the denial is, and after it is lifted: a crash in between leaves it denied
  if (denied) await departures.set(cluster, state === "left");
  if (await authority.setRevoked(cluster, denied)) bundleChanged();
  if (!denied) await departures.set(cluster, false);
}

/** A token of before must not bring it back: whoever took it out makes a new one, or does not. */
async function withdrawTokens({ tokens, clock }: MembershipDeps, cluster: ClusterName): Promise<void> {
  const nowMs = clock.now();
  const unused = (await tokens.list(nowMs)).filter((token) => token.cluster === cluster && token.state === "unused");
  for (const { id } of unused) await tokens.withdraw(id, nowMs);
}

/** Its streams have ended with the bundle, so nobody writes them again. */
async function withdrawRecords({ registry }: MembershipDeps, cluster: ClusterName): Promise<void> {
  const keys = await registry.ownedKeys(cluster);
  if (keys.length === 0) return;
  const { incarnation } = await registry.head();
  await registry.write(
    cluster,
    incarnation,
    keys.map((key) => ({ key, text: undefined })),
  );
}

async function expectAllowed(
  { members, clock }: MembershipDeps,
  verb: MembershipVerb,
  cluster: ClusterName,
): Promise<Member> {
  const stored = await members.stored(cluster);
  if (stored === undefined) {
    throw new UserError("ISTHMUS_MEMBER_UNKNOWN", `${cluster} is not a member of this fleet`, {
      hint: "isthmus clusters lists the members",
    });
  }
  return allowed(verb, stored.member, clock.now());
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
