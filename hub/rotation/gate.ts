// When a step of a rotation may be left: never by time alone, always by what every live agent and every one of its proxies has
// shown. Pure. Answers who blocks and why, in words for `isthmus trust`.
import { proxiesAsideOf, sequenceOf, type Rotation, type Step } from "./rotation.ts";
import { useOf, type MemberEvidence, type ReplicaEvidence } from "./evidence.ts";

export interface Blocker {
  /** Empty: the hub itself. */
  readonly cluster: string;
  readonly reason: string;
  /** Nothing was heard of it: only its return, or an operator, can end this. */
  readonly away: boolean;
}

export interface GateInput {
  readonly rotation: Rotation;
  /** Of every member that is one: accepted, not revoked. */
  readonly members: readonly MemberEvidence[];
  /** Why the new root cannot be trusted yet: it waits to be signed, or would end too soon. Empty: it can. */
  readonly rootProblem: string;
  readonly nowMs: number;
}

export interface Gate {
  readonly open: boolean;
  readonly blockers: readonly Blocker[];
}

export function gateOf(input: GateInput): Gate {
  const { rotation, nowMs } = input;
  const blockers = blockersOf(input);
  const hub = blockers.some(({ cluster }) => cluster === "");
  const overdue = rotation.hastenedUntilMs !== undefined && nowMs >= rotation.hastenedUntilMs;
  // an emergency waits for those that answer, and for them only so long; what the hub itself lacks cannot be skipped
  const waitsFor = rotation.hastenedUntilMs === undefined ? blockers : blockers.filter(({ away }) => !away);
  return { open: waitsFor.length === 0 || (overdue && !hub), blockers };
}

function blockersOf(input: GateInput): readonly Blocker[] {
  const { step, holdAt } = input.rotation;
  const held = step === holdAt ? [byHub("an operator holds it here: isthmus rotate resume")] : [];
  return [...held, ...unmet(input)];
}

function unmet({ rotation, members, rootProblem, nowMs }: GateInput): readonly Blocker[] {
  if (rotation.step === "prepared") return rootProblem === "" ? [] : [byHub(rootProblem)];
  const waitedFor = members.filter(({ cluster }) => !rotation.setAside.includes(cluster));
  const blockers = waitedFor.flatMap((member) => memberBlockers(rotation, member));
  const restMs = rotation.step === "retiring" ? (rotation.retireAtMs ?? 0) - nowMs : 0;
  if (restMs <= 0 || rotation.hastenedUntilMs !== undefined) return blockers;
  const seconds = Math.ceil(restMs / 1000);
  return [...blockers, byHub(`certificates under the old root may live for another ${seconds} s`)];
}

function byHub(reason: string): Blocker {
  return { cluster: "", reason, away: false };
}

function memberBlockers(rotation: Rotation, { cluster, replicas, silent }: MemberEvidence): readonly Blocker[] {
  const block = (reason: string, away = false): Blocker => ({ cluster, reason, away });
  if (replicas.length === 0 && silent.length === 0) return [block("nothing is heard of its agents", true)];
  const old = silent.map((pod) => block(`agent ${pod} is of a version that does not say what it trusts`));
  const aside = proxiesAsideOf(rotation, cluster);
  const unserved = unservedByAll(replicas).filter((name) => !aside.has(name));
  const lost = unserved.length === 0 ? [] : [block(`sidecars without an agent: ${names(unserved)}`)];
  const unready = replicas.flatMap((replica) => {
    const reason = reasonOf(rotation, replica, aside);
    return reason === "" ? [] : [block(replicas.length === 1 ? reason : `agent ${replica.pod}: ${reason}`)];
  });
  return [...old, ...lost, ...unready];
}

/** A sidecar has its stream with one replica: only what none of them serves is lost. */
function unservedByAll(replicas: readonly ReplicaEvidence[]): readonly string[] {
  const [first, ...others] = replicas;
  return (first?.unserved ?? []).filter((pod) => others.every(({ unserved }) => unserved.includes(pod)));
}

/** `aside`: names of proxies that are not waited for. */
type Check = (rotation: Rotation, replica: ReplicaEvidence, aside: ReadonlySet<string>) => string;

const checks: Readonly<Record<Exclude<Step, "prepared">, readonly Check[]>> = {
  trusted: [hasBundle, trusts("to")],
  signing: [hasBundle, trusts("to"), holds("to"), uses("to"), proved("to")],
  // asked again: what was true when the step began must still be when the old root goes
  retiring: [hasBundle, trusts("to"), holds("to"), uses("to"), proved("to")],
  revoked: [hasBundle, forgot("from")],
  reverting: [hasBundle, trusts("from"), holds("from"), uses("from")],
};

function reasonOf(rotation: Rotation, replica: ReplicaEvidence, aside: ReadonlySet<string>): string {
  if (rotation.step === "prepared") return "";
  for (const check of checks[rotation.step]) {
    const reason = check(rotation, replica, aside);
    if (reason !== "") return reason;
  }
  return "";
}

function hasBundle(rotation: Rotation, { bundleSequence }: ReplicaEvidence): string {
  const wanted = sequenceOf(rotation);
  return bundleSequence >= wanted ? "" : `has trust bundle ${bundleSequence}, not ${wanted}`;
}

function trusts(which: "from" | "to"): Check {
  return (rotation, replica, aside) => {
    const { trustedBy, untrusting } = useOf(replica, rotation[which]);
    return missing({ count: replica.proxies - trustedBy, some: untrusting, aside }, "have not acknowledged the root");
  };
}

function holds(which: "from" | "to"): Check {
  return (rotation, replica) => {
    const { agentCertificate, clusterCa } = useOf(replica, rotation[which]);
    if (!clusterCa) return "its cluster CA is not renewed under the root yet";
    return agentCertificate ? "" : "its agent's certificate is not renewed under the root yet";
  };
}

function uses(which: "from" | "to"): Check {
  return (rotation, replica, aside) => {
    const { usedBy, notUsing } = useOf(replica, rotation[which]);
    return missing(
      { count: replica.proxies - usedBy, some: notUsing, aside },
      "have not acknowledged a certificate under the root",
    );
  };
}

function proved(which: "from" | "to"): Check {
  return (rotation, replica, aside) => {
    const { provenBy, unproven } = useOf(replica, rotation[which]);
    return missing(
      { count: replica.proxies - provenBy, some: unproven, aside },
      "have not connected by the root in their trust file",
    );
  };
}

function forgot(which: "from" | "to"): Check {
  return (rotation, replica) => {
    const { trustedBy } = useOf(replica, rotation[which]);
    return trustedBy === 0 ? "" : `${trustedBy} proxies still trust the old root`;
  };
}

interface Lacking {
  readonly count: number;
  /** Names of some of them, not of all. */
  readonly some: readonly string[];
  readonly aside: ReadonlySet<string>;
}

function missing(lacking: Lacking, what: string): string {
  const { aside } = lacking;
  const some = lacking.some.filter((name) => !aside.has(name));
  const count = lacking.count - (lacking.some.length - some.length);
  if (count <= 0) return "";
  return some.length === 0 ? `${count} proxies ${what}` : `${names(some, count)} ${what}`;
}

const shownNames = 5;

function names(list: readonly string[], count = list.length): string {
  const shown = list.slice(0, shownNames).join(", ");
  return count > shownNames ? `${shown} and ${count - shownNames} more` : shown;
}

/** The end of the last certificate that anybody could hold under the old root, given what members say of their lifetimes. */
export function retireAtMs(members: readonly MemberEvidence[], nowMs: number, skewMs: number): number {
  const lives = members.flatMap(({ replicas }) => replicas.map(({ svidTtlMs }) => svidTtlMs));
  return nowMs + Math.max(0, ...lives) + skewMs;
}
