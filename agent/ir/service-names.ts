// How people write a Service in a TrafficSplit: short name, `name.namespace`, or a full name of cluster.local or clusterset.local, with
// or without the dot that ends a full DNS name. Pure; called by splits.ts.

export interface NamedService {
  readonly namespace: string;
  readonly name: string;
  /** Undefined: this cluster's own Service, or, where there is none, the import. */
  readonly scope: "cluster" | "fleet" | undefined;
}

const suffixes: ReadonlyMap<string, NamedService["scope"]> = new Map([
  ["", undefined],
  ["svc", "cluster"],
  ["svc.cluster", "cluster"],
  ["svc.cluster.local", "cluster"],
  ["svc.clusterset.local", "fleet"],
]);

/** Undefined: no name of a Service. A short one is of `namespace`. */
export function parseServiceName(text: string, namespace: string): NamedService | undefined {
  const [name = "", second = namespace, ...rest] = text.toLowerCase().replace(/\.$/, "").split(".");
  const suffix = rest.join(".");
  if (name === "" || second === "" || !suffixes.has(suffix)) return undefined;
  return { namespace: second, name, scope: suffixes.get(suffix) };
}
