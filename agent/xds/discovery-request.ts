// What a DiscoveryRequest or DeltaDiscoveryRequest changes in what a stream wants of one type. Called by agent/ads/stream.
// Clauses cited are of the xDS protocol, envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol.
import type { ResourceType } from "./resource.ts";
import { untold, unwanted, wants, type TypeState } from "./subscription.ts";

export interface DeltaChange {
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: ReadonlyMap<string, string>;
}

/** "resource_names_subscribe", "resource_names_unsubscribe" and, on the first request only, "initial_resource_versions". */
export function subscribeDelta(state: TypeState, change: DeltaChange): void {
  const first = !state.asked;
  state.asked = true;
  // "having never sent a request on the stream for that resource type with resource_names_subscribe populated"
  if (first && change.subscribe.length === 0 && hasLegacyWildcard(state.type)) startWildcard(state);
  for (const name of change.subscribe) if (name === "*") startWildcard(state);
  for (const name of change.subscribe) if (name !== "*") subscribeName(state, name);
  for (const name of change.unsubscribe) {
    if (name === "*") endWildcard(state);
    else unsubscribeName(state, name);
  }
  if (first) believe(state, change.initialVersions);
}

/** For historical reasons only these two have a wildcard that is not spelled "*". */
function hasLegacyWildcard(type: ResourceType): boolean {
  return type === "lds" || type === "cds";
}

/** After a reconnect the client keeps what it had: only what differs is sent, and what is gone is removed. */
function believe(state: TypeState, versions: ReadonlyMap<string, string>): void {
  for (const [name, version] of versions) {
    if (!state.wildcard && !wants(state, name)) continue;
    if (state.base.get(name)?.version === version) state.patch.delete(name);
    else state.patch.set(name, { version });
    state.greet = false;
  }
}

/** A name that is subscribed again is sent again: the client may have dropped it in between. */
function subscribeName(state: TypeState, name: string): void {
  if (state.wildcard) state.explicit.add(name);
  state.patch.set(name, untold);
}

function unsubscribeName(state: TypeState, name: string): void {
  state.resend.delete(name);
  state.refused.delete(name);
  if (state.wildcard) {
    // "the server must send": it is still matched by the wildcard, and the client may have dropped it
    if (state.explicit.delete(name)) state.patch.set(name, untold);
  } else if (state.base.has(name)) {
    state.patch.set(name, unwanted);
  } else {
    state.patch.delete(name);
  }
}

function startWildcard(state: TypeState): void {
  if (state.wildcard) return;
  for (const [name, has] of state.patch) if (has !== unwanted) state.explicit.add(name);
  for (const name of state.base.keys()) {
    const has = state.patch.get(name);
    if (has === undefined) state.explicit.add(name);
    else if (has === unwanted) state.patch.set(name, untold);
  }
  state.wildcard = true;
  state.greet = true;
}

function endWildcard(state: TypeState): void {
  if (!state.wildcard) return;
  state.wildcard = false;
  state.legacy = false;
  state.greet = false;
  for (const name of state.base.keys()) if (!state.explicit.has(name)) state.patch.set(name, unwanted);
  for (const name of state.patch.keys()) {
    if (!state.explicit.has(name) && !state.base.has(name)) state.patch.delete(name);
  }
  state.explicit.clear();
}

/** A SotW request states the whole subscription each time. */
export function subscribeSotw(state: TypeState, names: readonly string[]): void {
  state.asked = true;
  if (names.length > 0) state.legacy = false;
  const everything = names.includes("*") || (names.length === 0 && state.legacy && hasLegacyWildcard(state.type));
  const listed = new Set(names.filter((name) => name !== "*"));
  if (everything) listBesideWildcard(state, listed);
  else listOnly(state, listed);
}

function listBesideWildcard(state: TypeState, listed: ReadonlySet<string>): void {
  startWildcard(state);
  state.explicit.clear();
  for (const name of listed) {
    state.explicit.add(name);
    if (!state.base.has(name) && !state.patch.has(name)) state.patch.set(name, untold);
  }
}

function listOnly(state: TypeState, listed: ReadonlySet<string>): void {
  if (state.wildcard) {
    for (const name of listed) state.explicit.add(name);
    endWildcard(state);
  }
  for (const name of listed) if (!wants(state, name)) state.patch.set(name, untold);
  for (const name of [...state.base.keys(), ...state.patch.keys()]) {
    if (!listed.has(name)) unsubscribeName(state, name);
  }
}
