// What of a member's batch the registry takes: its own prefix only, valid shapes, within its quota. Called by
// api/publish.ts before anything is written. Which of two publishers of one member wins is decided in mutate.lua,
// where it is atomic for all hubs.
import type { WireRecord } from "../../shared/grpc/fleet-messages.ts";
import type { AddressRules } from "../../shared/grpc/gateway-host.ts";
import { fromWire } from "../../shared/grpc/record-wire.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { recordKey, type RegistryRecord } from "../../shared/registry.ts";
import { ok, rejected, type Problem, type Result } from "../../shared/result.ts";

export interface PublishRules extends AddressRules {
  /** Records one member may hold: a runaway or hostile agent must not fill the fleet's memory. */
  readonly maxRecords: number;
  /** Of these, objects that it wants in other members: each is as large as fifty others. */
  readonly maxPolicies: number;
}

export interface PublishInput {
  readonly puts: readonly WireRecord[];
  readonly deleteKeys: readonly string[];
}

export interface RefusedRecord {
  readonly key: string;
  readonly code: string;
  readonly message: string;
}

export interface PublishDecision {
  readonly puts: ReadonlyMap<string, RegistryRecord>;
  readonly deleteKeys: readonly string[];
  /** Refused records; all others of the batch are taken. */
  readonly problems: readonly RefusedRecord[];
}

/** `ownKeys` are the keys this member holds now: they decide what counts against the quota. */
export function decidePublish(
  cluster: ClusterName,
  input: PublishInput,
  ownKeys: ReadonlySet<string>,
  rules: PublishRules,
): PublishDecision {
  const puts = new Map<string, RegistryRecord>();
  const problems: RefusedRecord[] = [];
  const deletes = new Set<string>();
  for (const key of input.deleteKeys) {
    if (ownsKey(cluster, key)) deletes.add(key);
    else problems.push(refused(key, foreign(cluster)));
  }
  const quota = quotaAfter(
    cluster,
    [...ownKeys].filter((key) => !deletes.has(key)),
    rules,
  );
  for (const wire of input.puts) {
    const taken = takeRecord(cluster, wire, rules);
    if (!taken.ok) {
      problems.push(...taken.error.map((problem) => refused(wireKey(wire), problem)));
      continue;
    }
    const key = recordKey(taken.value);
    const isNew = !puts.has(key) && (deletes.has(key) || !ownKeys.has(key));
    const over = isNew ? quota.take(taken.value) : undefined;
    if (over === undefined) puts.set(key, taken.value);
    else problems.push(refused(key, over));
  }
  // a key that is deleted and put in one batch was replaced: the record stands
  return { puts, deleteKeys: [...deletes].filter((key) => !puts.has(key)), problems };
}

interface Quota {
  /** Undefined: there is room, and it is taken. */
  take(record: RegistryRecord): CodeAndMessage | undefined;
}

function quotaAfter(cluster: ClusterName, keptKeys: readonly string[], rules: PublishRules): Quota {
  let records = keptKeys.length;
  let policies = keptKeys.filter((key) => key.startsWith(`${cluster}/policy/`)).length;
  return {
    take: ({ kind }) => {
      if (records >= rules.maxRecords) return overQuota(`${rules.maxRecords} records`);
      if (kind === "policy" && policies >= rules.maxPolicies)
        return overQuota(`${rules.maxPolicies} objects for other members`);
      records += 1;
      policies += kind === "policy" ? 1 : 0;
      return undefined;
    },
  };
}

function takeRecord(cluster: ClusterName, wire: WireRecord, rules: PublishRules): Result<RegistryRecord> {
  if (wire.cluster !== cluster) return rejected(...foreign(cluster));
  return fromWire(wire, rules);
}

export function ownsKey(cluster: ClusterName, key: string): boolean {
  return key.startsWith(`${cluster}/`);
}

/** The full set has ended: what this member held and did not name again is gone. */
export function staleKeys(ownKeys: Iterable<string>, published: ReadonlySet<string>): readonly string[] {
  return [...ownKeys].filter((key) => !published.has(key));
}

type CodeAndMessage = readonly [code: string, message: string];

function foreign(cluster: ClusterName): [string, string] {
  return ["ISTHMUS_RECORD_FOREIGN", `belongs to another member; ${cluster} may write only its own records`];
}

function overQuota(held: string): [string, string] {
  return ["ISTHMUS_RECORD_QUOTA", `the member holds ${held}, its quota`];
}

function refused(key: string, problem: Problem | CodeAndMessage): RefusedRecord {
  const shownKey = key.slice(0, 200);
  if (!("code" in problem)) return { key: shownKey, code: problem[0], message: problem[1] };
  const field = problem.field === undefined ? "" : `${problem.field}: `;
  return { key: shownKey, code: problem.code, message: `${field}${problem.message}` };
}

/** The key the record would have; nothing of it is validated. */
export function wireKey(wire: WireRecord): string {
  switch (wire.kind) {
    case "service":
      return `${wire.cluster}/service/${wire.service.namespace}/${wire.service.name}`;
    case "capacity":
      return `${wire.cluster}/capacity/${wire.capacity.namespace}/${wire.capacity.name}`;
    case "gateway":
      return `${wire.cluster}/gateway`;
    case "policy": {
      const { policyKind, namespace, name } = wire.policy;
      return `${wire.cluster}/policy/${namespace}/${policyKind}/${name}`;
    }
    case undefined:
      return wire.cluster;
  }
}

/** Text of a record as Redis holds it. Its field order is fixed by fromWire, so equal records are equal texts. */
export function encodeRecord(record: RegistryRecord): string {
  return JSON.stringify(record);
}

const kinds: ReadonlySet<string> = new Set(["service", "capacity", "gateway", "policy"]);

/** Redis is not trusted with shapes either: whoever writes to it must not be able to crash hubs or reach agents. */
export function decodeRecord(key: string, text: string, rules: AddressRules): Result<RegistryRecord> {
  try {
    const raw = JSON.parse(text) as Partial<RegistryRecord> | null;
    const { kind, cluster } = raw ?? {};
    if (kind === undefined || !kinds.has(kind) || typeof cluster !== "string") return undecodable(key);
    const record = fromWire({ cluster, kind, [kind]: raw } as unknown as WireRecord, rules);
    if (!record.ok) return record;
    return recordKey(record.value) === key ? ok(record.value) : undecodable(key);
  } catch {
    // malformed JSON, or a field of another type that a check tripped over
    return undecodable(key);
  }
}

function undecodable(key: string): Result<RegistryRecord> {
  return rejected("ISTHMUS_RECORD_CORRUPT", `the stored record ${key} is malformed`);
}
