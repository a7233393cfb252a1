// What one stream wants and has of one resource type, and what it is owed: delta and state-of-the-world (SotW) by one model.
// Called by order (what goes next) and agent/ads/stream. It decides only; a state belongs to one stream and is changed in place.
//
// `base` is the class's current resources, shared by all its streams. `patch` holds only names where this client differs
// from it: so a stream in step costs no memory per resource and a push costs what changed, not what exists.
// Clauses cited are of the xDS protocol, envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol.
import { diffResources, type Resources } from "./diff.ts";
import type { EncodedResource, ResourceType } from "./resource.ts";

/** What the client has under a name; an EncodedResource is one. */
export interface Known {
  readonly version: string;
}

/** In the snapshot and not asked for. */
export const unwanted: Known = { version: "unwanted" };
/** Asked for, and the client was told that it does not exist. */
const missing: Known = { version: "missing" };
/** Asked for (or asked for again) and not yet answered: equals no content version. */
export const untold: Known = { version: "" };

export interface Sent {
  readonly nonce: string;
  readonly updates: readonly EncodedResource[];
  readonly removed: readonly string[];
  /** What the client had before, for a refusal. */
  readonly before: ReadonlyMap<string, Known>;
}

export interface Refusal {
  readonly version: string;
  readonly errorText: string;
}

export interface TypeState {
  readonly type: ResourceType;
  base: Resources;
  readonly patch: Map<string, Known>;
  /** A first request has come. */
  asked: boolean;
  wildcard: boolean;
  /** SotW: "has never explicitly subscribed to any resource names", so that an empty request still means everything. */
  legacy: boolean;
  /** A wildcard is answered even when there is nothing: the client waits for its first response. */
  greet: boolean;
  /** Names asked for by name beside a wildcard; without one, `base` and `patch` say it. */
  readonly explicit: Set<string>;
  /** Names to be sent again although the client has them: the EDS of a Cluster that was sent (order.ts). */
  readonly resend: Set<string>;
  /** The one response that is not yet answered. */
  awaiting: Sent | undefined;
  lastNonce: string;
  /** After a refusal that does not say whose fault it was: parts to be sent one by one (see refusal.ts). */
  trials: readonly (readonly string[])[];
  /** By name, what this client refused: not sent again until its content changes. */
  readonly refused: Map<string, Refusal>;
}

const nobody: Resources = new Map();

export function newTypeState(type: ResourceType): TypeState {
  return {
    type,
    base: nobody,
    patch: new Map(),
    asked: false,
    wildcard: false,
    legacy: true,
    greet: false,
    explicit: new Set(),
    resend: new Set(),
    awaiting: undefined,
    lastNonce: "",
    trials: [],
    refused: new Map(),
  };
}

/** Moves to the class's new resources: what the client has stays, now as a difference from the new base. */
export function retarget(state: TypeState, target: Resources): void {
  const { base, patch } = state;
  if (base === target) return;
  const { changed, removed } = diffResources(base, target);
  for (const resource of changed) noteChange(state, resource);
  for (const name of removed) {
    const has = patch.get(name);
    const had = base.get(name);
    if (has === undefined && had !== undefined) patch.set(name, had);
    else if (has === unwanted || (has === untold && isByWildcardOnly(state, name))) patch.delete(name);
  }
  state.base = target;
}

function noteChange(state: TypeState, { name, version }: EncodedResource): void {
  const { base, patch, refused } = state;
  const has = patch.get(name);
  if (has === undefined) patch.set(name, base.get(name) ?? newcomer(state, name));
  else if (has === missing) patch.set(name, untold);
  else if (has.version === version) patch.delete(name);
  if (refused.get(name)?.version !== version) refused.delete(name);
}

function isByWildcardOnly(state: TypeState, name: string): boolean {
  return state.wildcard && !state.explicit.has(name);
}

function newcomer(state: TypeState, name: string): Known {
  return state.wildcard || state.explicit.has(name) ? untold : unwanted;
}

export function wants(state: TypeState, name: string): boolean {
  const has = state.patch.get(name);
  return has === undefined ? state.base.has(name) : has !== unwanted;
}

export interface Pending {
  readonly updates: readonly EncodedResource[];
  readonly removed: readonly string[];
}

export interface Owed extends Pending {
  /** Of `removed`, what the client waits for: it asked, or needs it anew, and there is no such thing (any more). */
  readonly absent: readonly string[];
}

const nothing: Owed = { updates: [], removed: [], absent: [] };

/** All that the client is owed, before order and refusals have their say. */
export function pendingOf(state: TypeState): Owed {
  const { base, patch, resend, refused } = state;
  if (patch.size === 0 && resend.size === 0) return nothing;
  const updates: EncodedResource[] = [];
  const removed: string[] = [];
  for (const [name, has] of patch) {
    if (has === unwanted || has === missing) continue;
    const resource = base.get(name);
    if (resource === undefined) removed.push(name);
    else if (refused.get(name)?.version !== resource.version) updates.push(resource);
  }
  for (const name of resend) {
    const resource = patch.has(name) ? undefined : base.get(name);
    if (resource !== undefined) updates.push(resource);
  }
  return { updates, removed, absent: removed.filter((name) => patch.get(name) === untold || resend.has(name)) };
}

/** Whether a name's newest version is still to be sent, or sent and not yet acknowledged. */
export function isUnsettled(state: TypeState, name: string): boolean {
  if (state.awaiting?.updates.some((resource) => resource.name === name) === true) return true;
  const has = state.patch.get(name);
  if (has === undefined || has === unwanted || has === missing) return false;
  const resource = state.base.get(name);
  return resource !== undefined && state.refused.get(name)?.version !== resource.version;
}

/**
 * All the client will have once it takes `updates`, for SotW responses that state the whole set (Listener, Cluster). What is
 * not among them stays as the client has it; what is gone from the snapshot stays too while `keepRemoved`.
 */
export function wholeSet(
  state: TypeState,
  updates: readonly EncodedResource[],
  keepRemoved: boolean,
): readonly EncodedResource[] {
  const now = new Set(updates);
  const set: EncodedResource[] = [];
  for (const resource of state.base.values()) {
    const has = now.has(resource) ? resource : (state.patch.get(resource.name) ?? resource);
    if (isResource(has)) set.push(has);
  }
  if (!keepRemoved) return set;
  for (const has of state.patch.values()) if (isResource(has) && !state.base.has(has.name)) set.push(has);
  return set;
}

/** Whether more than a version is known of it. */
export function isResource(known: Known): known is EncodedResource {
  return "bytes" in known;
}

/** A response is on its way: from here on the client counts as having it, until it says otherwise. */
export function markSent(state: TypeState, batch: Pending, nonce: string): void {
  const before = new Map<string, Known>();
  for (const { name } of batch.updates) {
    before.set(name, state.patch.get(name) ?? state.base.get(name) ?? untold);
    state.patch.delete(name);
    state.resend.delete(name);
  }
  for (const name of batch.removed) {
    forget(state, name);
    state.resend.delete(name);
  }
  state.greet = false;
  state.lastNonce = nonce;
  state.awaiting = { nonce, updates: batch.updates, removed: batch.removed, before };
}

/** The client was told that a name does not exist; one that it asked for by name is watched on. */
export function forget(state: TypeState, name: string): void {
  if (isByWildcardOnly(state, name)) state.patch.delete(name);
  else state.patch.set(name, missing);
  state.refused.delete(name);
}

/** What the client says it has after all, when it refused `name`. */
export function restore(state: TypeState, name: string, has: Known): void {
  const now = state.patch.get(name);
  if (now === unwanted || now === untold || now === missing || (now === undefined && !state.base.has(name))) return;
  if (state.base.get(name)?.version === has.version) state.patch.delete(name);
  else if (!state.base.has(name) && has === untold && state.wildcard) forget(state, name);
  else state.patch.set(name, has);
}
