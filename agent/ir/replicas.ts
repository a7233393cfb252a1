// SMI objects that are meant for other members: which of ours go out, and which of theirs are for us. Whatever stands here
// under the same name and is nobody's copy wins. Pure.
import { parseClusterName } from "../../shared/ids.ts";
import { maxManifestBytes, type PolicyRecord } from "../../shared/registry.ts";
import type { ObjectRef, Problem } from "../../shared/result.ts";
import { manifestOf, type PolicyInputs } from "../smi/manifest.ts";
import { isSmiKind, smiKinds, type SmiKindName } from "../smi/versions.ts";
import type { MeshInputs, PolicyInput } from "./inputs.ts";
import { recall, stage, topic, type Memory } from "./memo.ts";
import { compareText, objectKey } from "./order.ts";

export type PolicyLists = Pick<
  MeshInputs,
  "trafficTargets" | "httpRouteGroups" | "tcpRoutes" | "udpRoutes" | "trafficSplits"
>;

export const listOfKind = {
  TrafficTarget: "trafficTargets",
  HTTPRouteGroup: "httpRouteGroups",
  TCPRoute: "tcpRoutes",
  UDPRoute: "udpRoutes",
  TrafficSplit: "trafficSplits",
} as const satisfies { readonly [K in SmiKindName]: keyof PolicyLists };

export const policyKinds = Object.keys(smiKinds) as readonly SmiKindName[];

export function policiesOf(lists: PolicyLists, kind: SmiKindName): readonly PolicyInput[] {
  return lists[listOfKind[kind]] ?? [];
}

interface Outgoing {
  readonly records: readonly PolicyRecord[];
  readonly problems: readonly Problem[];
}

const outgoingTopic = topic<Outgoing, Outgoing>("policy for other members");

/** What of ours other members get; one record per object, remade only when the object is another. */
export function outgoingPolicies(memory: Memory, inputs: MeshInputs): Outgoing {
  const lists = policyKinds.map((kind) => policiesOf(inputs, kind));
  return stage(memory, outgoingTopic, [inputs.cluster, ...lists], (table) => {
    const all = policyKinds.flatMap((kind) =>
      policiesOf(inputs, kind)
        .filter(({ replicate }) => replicate !== undefined)
        .map((input) =>
          recall(table, `${kind} ${objectKey(input)}`, [inputs.cluster, input], () =>
            outgoing(inputs.cluster, kind, input),
          ),
        ),
    );
    return { records: all.flatMap(({ records }) => records), problems: all.flatMap(({ problems }) => problems) };
  });
}

function outgoing(cluster: string, kind: SmiKindName, input: PolicyInput): Outgoing {
  const { namespace, name, replicate = [] } = input;
  const object: ObjectRef = { kind, namespace, name };
  const field = "metadata.annotations[isthmus.dev/replicate]";
  const wrong = replicate.filter((member) => member !== "*" && !parseClusterName(member).ok);
  const problems = wrong.map((member): Problem => ({
    ...{ code: "ISTHMUS_REPLICATE", object, field },
    message: `"${member.slice(0, 64)}" is not a member's name; write names separated by commas, or "*" alone`,
  }));
  const members = replicate.filter((member) => !wrong.includes(member) && member !== cluster);
  if (members.length === 0) return { records: [], problems };
  const manifest = JSON.stringify(manifestOf(kind, input as PolicyInputs[typeof kind]));
  if (Buffer.byteLength(manifest) > maxManifestBytes) {
    const message = `takes more than ${maxManifestBytes} bytes and is not replicated: split it`;
    return { records: [], problems: [...problems, { code: "ISTHMUS_REPLICA_LIMIT", message, object }] };
  }
  return { records: [{ kind: "policy", cluster, policyKind: kind, namespace, name, members, manifest }], problems };
}

/** A copy that should stand here. */
export interface IncomingPolicy extends PolicyRecord {
  readonly policyKind: SmiKindName;
}

export function placeOf({ policyKind, namespace, name }: PolicyRecord): string {
  return `${policyKind} ${namespace}/${name}`;
}

export type ReplicaSources = Pick<
  MeshInputs,
  "cluster" | "fleetDomain" | "remote" | "revokedTrustDomains" | "policyFrom"
>;

/** Records for us by place; of two members' for one place the first by name, and the others. */
export function incomingPolicies(sources: ReplicaSources): {
  readonly taken: ReadonlyMap<string, IncomingPolicy>;
  readonly others: readonly IncomingPolicy[];
} {
  const taken = new Map<string, IncomingPolicy>();
  const others: IncomingPolicy[] = [];
  const mine = sources.remote.filter(
    (record): record is IncomingPolicy => record.kind === "policy" && isForUs(record, sources),
  );
  for (const record of mine.sort((a, b) => compareText(a.cluster, b.cluster))) {
    const place = placeOf(record);
    if (taken.has(place)) others.push(record);
    else taken.set(place, record);
  }
  return { taken, others };
}

export function isMeantFor(members: readonly string[], cluster: string): boolean {
  return members.includes("*") || members.includes(cluster);
}

/** A member that is cut off has no say here any longer, whatever the hub still holds of it. */
export function believesPolicyOf(
  { policyFrom = ["*"], fleetDomain, revokedTrustDomains }: Omit<ReplicaSources, "remote">,
  from: string,
): boolean {
  const believed = policyFrom.includes("*") || policyFrom.includes(from);
  return believed && !revokedTrustDomains.includes(`${from}.${fleetDomain}`);
}

function isForUs({ policyKind, members, cluster: from }: PolicyRecord, sources: ReplicaSources): boolean {
  return isMeantFor(members, sources.cluster) && believesPolicyOf(sources, from) && isSmiKind(policyKind);
}

/** Why a copy of another member is not here, said on the object that has its place. */
export function replicaProblems(inputs: MeshInputs): readonly Problem[] {
  const { taken, others } = incomingPolicies(inputs);
  if (taken.size === 0) return [];
  const twice = others.map((record): Problem => {
    const first = taken.get(placeOf(record))?.cluster ?? "";
    const message = `${record.cluster} has an object of this name too, which is not copied: ${first}'s is`;
    return { code: "ISTHMUS_REPLICA_TWICE", message, object: refOf(record) };
  });
  const local = policyKinds.flatMap((kind) =>
    policiesOf(inputs, kind).flatMap((input): readonly Problem[] => {
      const record = taken.get(`${kind} ${objectKey(input)}`);
      if (record === undefined || input.replicatedFrom !== undefined) return [];
      const message = `${record.cluster}'s object of this name is not copied here: this one, which is no copy, stays in force`;
      return [{ code: "ISTHMUS_REPLICA_LOCAL", message, object: refOf(record) }];
    }),
  );
  return [...twice, ...local];
}

function refOf({ policyKind, namespace, name }: PolicyRecord): ObjectRef {
  return { kind: policyKind, namespace, name };
}
