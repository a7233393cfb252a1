// Which source of endpoints is tried first. Today one policy: stay in the member when it serves the name itself, else
// every exporter alike, weighted by its ready capacity. Called by agent/ir/imports.ts.

export interface Priorities {
  readonly local: number;
  readonly remote: number;
}

/** Envoy wants priorities without a gap: remote members are 0 where nothing local may stand before them. */
export function localityPriorities(exportedHere: boolean): Priorities {
  return exportedHere ? { local: 0, remote: 1 } : { local: 0, remote: 0 };
}
