// The kinds of SMI and every version in which each existed. The newest can say all that the others can: it is the one that
// is stored, watched and meant; the others are converted to it (convert.ts).

export interface SmiKind {
  readonly group: string;
  readonly plural: string;
  /** Oldest first; the last one is stored. */
  readonly versions: readonly [string, ...string[]];
}

export const smiKinds = {
  TrafficTarget: {
    group: "access.smi-spec.io",
    plural: "traffictargets",
    versions: ["v1alpha1", "v1alpha2", "v1alpha3"],
  },
  HTTPRouteGroup: {
    group: "specs.smi-spec.io",
    plural: "httproutegroups",
    versions: ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"],
  },
  TCPRoute: {
    group: "specs.smi-spec.io",
    plural: "tcproutes",
    versions: ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"],
  },
  UDPRoute: { group: "specs.smi-spec.io", plural: "udproutes", versions: ["v1alpha4"] },
  TrafficSplit: {
    group: "split.smi-spec.io",
    plural: "trafficsplits",
    versions: ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"],
  },
} as const satisfies Readonly<Record<string, SmiKind>>;

export type SmiKindName = keyof typeof smiKinds;

export function isSmiKind(kind: string): kind is SmiKindName {
  return Object.hasOwn(smiKinds, kind);
}

export function storedVersion(kind: SmiKindName): string {
  const { versions }: SmiKind = smiKinds[kind];
  return versions.at(-1) ?? versions[0];
}

/** Newest first: the order in which the agent prefers them. */
export function apiVersionsOf(kind: SmiKindName): readonly [string, ...string[]] {
  const { group, versions }: SmiKind = smiKinds[kind];
  const [newest = versions[0], ...older] = versions.toReversed();
  return [`${group}/${newest}`, ...older.map((version) => `${group}/${version}`)];
}
