// The names of a site as one workload sees them, from the text of its `hosts` file. Pure.

export interface Zone {
  /** IPv4 addresses by name, lower case. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
  /** Names that have no address but have names below them: they exist (RFC 8020). */
  readonly between: ReadonlySet<string>;
}

/** Nobody else has these: what is not in them does not exist. */
const zones = ["cluster.local", "clusterset.local"];

export type Found =
  | { readonly kind: "here"; readonly addresses: readonly string[]; readonly zone: string }
  | { readonly kind: "absent"; readonly zone: string }
  | { readonly kind: "elsewhere" };

/** As hosts(5); lines that are none are left out, for the file is the agent's own. */
export function parseHosts(text: string): Zone {
  const addresses = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) continue;
    for (const name of names.map((each) => each.toLowerCase()))
      addresses.set(name, [...(addresses.get(name) ?? []), address]);
  }
  return { addresses, between: new Set([...addresses.keys()].flatMap(above)) };
}

function above(name: string): readonly string[] {
  const labels = name.split(".");
  return labels.slice(1).map((_, index) => labels.slice(index + 1).join("."));
}

export function find({ addresses, between }: Zone, name: string): Found {
  const zone = zones.find((each) => name === each || name.endsWith(`.${each}`)) ?? "";
  const known = addresses.get(name);
  if (known !== undefined) return { kind: "here", addresses: known, zone };
  if (zone === "") return { kind: "elsewhere" };
  return between.has(name) || name === zone ? { kind: "here", addresses: [], zone } : { kind: "absent", zone };
}
