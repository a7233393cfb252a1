// What a stream is sent next: make before break. Called by agent/ads/stream until it says nothing.
// Additions go from what is referred to, to what refers: SDS, CDS, EDS, LDS, then what a Listener names, ECDS and RDS; removals the
// other way round, and only when no update that could still refer to them is under way. SDS is first, so that a peer that lost its
// trust is refused before it loses its endpoints, and a new one is trusted before it is called.
// A Listener, a RouteConfiguration or a filter of ECDS waits until the clusters it names are acknowledged: Envoy delays the ACK of a Cluster
// until it is warm, so a route never points at a cluster that answers 503. Only those resources wait; the rest goes on.
// At most one response of a type is unanswered: a slow client costs what it has not read yet, never a history.
import type { EncodedResource, ResourceType, Snapshot } from "./resource.ts";
import {
  forget,
  isResource,
  isUnsettled,
  markSent,
  newTypeState,
  pendingOf,
  retarget,
  wants,
  wholeSet,
  type Known,
  type TypeState,
} from "./subscription.ts";

export type Protocol = "delta" | "sotw";

export interface StreamState {
  readonly protocol: Protocol;
  readonly types: Readonly<Record<ResourceType, TypeState>>;
}

export interface Batch {
  readonly type: ResourceType;
  readonly updates: readonly EncodedResource[];
  readonly removed: readonly string[];
  /** What the message carries: the updates, or in SotW the whole set of a type whose responses state all of it. */
  readonly carried: readonly EncodedResource[];
}

const additionOrder: readonly ResourceType[] = ["sds", "cds", "eds", "lds", "ecds", "rds"];
const removalOrder: readonly ResourceType[] = ["lds", "ecds", "rds", "cds", "eds", "sds"];

/** Who may refer to a type: it loses no resource while one of these has something under way. */
const referrers: Readonly<Record<ResourceType, readonly ResourceType[]>> = {
  lds: [],
  ecds: ["lds"],
  rds: ["lds", "ecds"],
  cds: ["lds", "rds", "ecds"],
  eds: ["cds"],
  sds: ["cds", "lds"],
};

/**
 * What must be sent again with a resource of a type, even unchanged, or it warms until a time-out (envoy-facts 6): the endpoints
 * of every Cluster; of a Listener only route tables and filters that it did not name before, since Envoy 1.40 shares them among
 * listeners and their versions (envoy.test.ts), and a table per service would be a megabyte per new service.
 */
const companions: Readonly<Partial<Record<ResourceType, readonly ResourceType[]>>> = {
  cds: ["eds"],
  lds: ["ecds", "rds"],
  ecds: ["rds"],
};

/**
 * Never told to be gone to a client that asked for them by name: it drops them with the last chain that names them. Envoy 1.40 ignores the
 * removal of a route table; told of a filter's, it takes it from a chain that is draining, and when that chain comes back meanwhile its filter
 * comes too late for the listener to wait, never asks for its routes and answers 404 for ever (agent/ads/request-filter.envoy.test.ts).
 */
const endsWithItsListener: ReadonlySet<ResourceType> = new Set(["rds", "ecds"]);

/** Below the 4 MiB that gRPC clients accept by default. Envoy has no limit, other clients of ADS do. */
const MAX_RESPONSE_BYTES = 3 * 1024 * 1024;

export function newStreamState(protocol: Protocol): StreamState {
  return {
    protocol,
    types: {
      cds: newTypeState("cds"),
      eds: newTypeState("eds"),
      lds: newTypeState("lds"),
      rds: newTypeState("rds"),
      ecds: newTypeState("ecds"),
      sds: newTypeState("sds"),
    },
  };
}

export function retargetStream(stream: StreamState, snapshot: Snapshot): void {
  for (const type of additionOrder) retarget(stream.types[type], snapshot.resources[type]);
}

/** The next message, or undefined when everything is said or waits for an answer. */
export function nextBatch(stream: StreamState): Batch | undefined {
  for (const type of additionOrder) {
    const batch = nextAddition(stream, stream.types[type]);
    if (batch !== undefined) return batch;
  }
  for (const type of removalOrder) {
    const batch = nextRemoval(stream, stream.types[type]);
    if (batch !== undefined) return batch;
  }
  return undefined;
}

export function markBatchSent(stream: StreamState, batch: Batch, nonce: string): void {
  const state = stream.types[batch.type];
  if (batch.updates.length > 0 && state.trials.length > 0) state.trials = state.trials.slice(1);
  for (const companion of companions[batch.type] ?? []) {
    for (const resource of batch.updates) askAlong(stream.types[companion], resource, state.patch.get(resource.name));
  }
  markSent(state, batch, nonce);
}

/** `had` is what the client has under the name of `resource`; after a reconnect only its version is known. */
function askAlong(followers: TypeState, resource: EncodedResource, had: Known | undefined): void {
  for (const need of resource.needs) {
    if (need.type !== followers.type || (resource.type !== "cds" && alreadyNames(had, need))) continue;
    // not asked for yet: it may come with initial_resource_versions, and must be sent all the same
    if (!followers.asked || wants(followers, need.name)) followers.resend.add(need.name);
  }
}

function alreadyNames(had: Known | undefined, { type, name }: EncodedResource["needs"][number]): boolean {
  return had !== undefined && isResource(had) && had.needs.some((need) => need.type === type && need.name === name);
}

function nextAddition(stream: StreamState, state: TypeState): Batch | undefined {
  if (!state.asked || state.awaiting !== undefined) return undefined;
  const sendable = pendingOf(state).updates.filter((resource) => isReady(stream, resource));
  const updates = withinLimit(onTrial(state, sendable));
  if (updates.length === 0 && !state.greet) return undefined;
  return {
    type: state.type,
    updates,
    removed: [],
    carried: statesAll(stream, state.type) ? wholeSet(state, updates, true) : updates,
  };
}

/** In SotW a response of these types states all resources: what it leaves out is removed ("Deleting Resources"). */
function statesAll(stream: StreamState, type: ResourceType): boolean {
  return stream.protocol === "sotw" && (type === "lds" || type === "cds");
}

/** While a refusal is being traced, only the next suspects are sent. */
function onTrial(state: TypeState, updates: readonly EncodedResource[]): readonly EncodedResource[] {
  while (state.trials.length > 0) {
    const suspects = new Set(state.trials[0]);
    const part = updates.filter((resource) => suspects.has(resource.name));
    if (part.length > 0) return part;
    state.trials = state.trials.slice(1);
  }
  return updates;
}

function withinLimit(updates: readonly EncodedResource[]): readonly EncodedResource[] {
  let bytes = 0;
  const end = updates.findIndex(
    (resource, index) => (bytes += resource.bytes.length) > MAX_RESPONSE_BYTES && index > 0,
  );
  return end === -1 ? updates : updates.slice(0, end);
}

function isReady(stream: StreamState, resource: EncodedResource): boolean {
  if (!referrers.cds.includes(resource.type)) return true;
  const clusters = stream.types.cds;
  if (!clusters.asked || (clusters.awaiting === undefined && clusters.patch.size === 0)) return true;
  return !resource.needs.some((need) => need.type === "cds" && isUnsettled(clusters, need.name));
}

function nextRemoval(stream: StreamState, state: TypeState): Batch | undefined {
  if (!state.asked || state.awaiting !== undefined) return undefined;
  const removed = removable(stream, state);
  if (removed.length === 0) return undefined;
  if (stream.protocol === "delta" && (state.wildcard || !endsWithItsListener.has(state.type)))
    return { type: state.type, updates: [], removed, carried: [] };
  if (statesAll(stream, state.type))
    return { type: state.type, updates: [], removed, carried: wholeSet(state, [], false) };
  // SotW: "EDS and RDS resources are not removed by absence": the client drops them with whatever referred to them
  for (const name of removed) forget(state, name);
  return undefined;
}

/**
 * What is gone waits for whatever may still refer to it; what never was is answered at once. A Cluster is acknowledged when its endpoints and
 * secrets came or are known not to exist, and much waits for that ACK: one that went while it was warming would hold up its stream
 * for Envoy's 15 s (agent/ads/convergence.envoy.test.ts).
 */
function removable(stream: StreamState, state: TypeState): readonly string[] {
  const { removed, absent } = pendingOf(state);
  if (removed.length === 0 || !referrers[state.type].some((type) => isBusy(stream, stream.types[type]))) return removed;
  // in SotW nothing can be denied by itself: what a whole set leaves out is removed
  return stream.protocol === "delta" ? absent : [];
}

/**
 * A delta response that only removes is not waited for: it goes before what is removed next, and nothing of it can be refused. One
 * that states a whole set can.
 */
function isBusy({ protocol }: StreamState, state: TypeState): boolean {
  if (!state.asked) return false;
  if (state.awaiting !== undefined && (protocol === "sotw" || state.awaiting.updates.length > 0)) return true;
  const { updates, removed } = pendingOf(state);
  return updates.length > 0 || removed.length > 0;
}
