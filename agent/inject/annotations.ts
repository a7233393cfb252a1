// Annotations on pods and namespaces that steer injection, ours and OSM's. Ours wins where both speak of the same thing;
// exclusion lists of both are joined. A value that cannot be read is a Problem: the pod is refused rather than run unprotected
// in another way than its author meant.
import { err, ok, type Problem, type Result } from "../../shared/result.ts";
import { parseRange } from "../../shared/address-range.ts";
import { joinedExclusions, type TrafficExclusions } from "./settings.ts";

export type Annotations = Readonly<Record<string, string>>;

const prefixes = ["isthmus.dev/", "openservicemesh.io/"] as const;
/** More than any list seen; bounds the ruleset. */
const MAX_ENTRIES = 256;

const wishes: ReadonlyMap<string, boolean> = new Map([
  ["enabled", true],
  ["yes", true],
  ["true", true],
  ["disabled", false],
  ["no", false],
  ["false", false],
]);

/** Whether `sidecar-injection` asks for it; undefined when nothing is said. */
export function injectionWish(annotations: Annotations): Result<boolean | undefined> {
  for (const prefix of prefixes) {
    const key = `${prefix}sidecar-injection`;
    const value = annotations[key];
    if (value === undefined) continue;
    const wish = wishes.get(value.trim().toLowerCase());
    if (wish !== undefined) return ok(wish);
    const message = `"${value}" is neither enabled nor disabled`;
    return err([{ code: "ISTHMUS_INJECTION_ANNOTATION", message, field: `metadata.annotations[${key}]` }]);
  }
  return ok(undefined);
}

function readList<T>(
  annotations: Annotations,
  name: string,
  parse: (text: string) => T | undefined,
): { readonly values: readonly T[]; readonly problems: readonly Problem[] } {
  const values: T[] = [];
  const problems: Problem[] = [];
  for (const key of prefixes.map((prefix) => `${prefix}${name}`)) {
    const entries = (annotations[key] ?? "")
      .split(",")
      .map((entry) => entry.trim())
      .filter((entry) => entry !== "");
    const field = `metadata.annotations[${key}]`;
    if (entries.length > MAX_ENTRIES) {
      problems.push({ code: "ISTHMUS_EXCLUSION_LIST", message: `more than ${MAX_ENTRIES} entries`, field });
      continue;
    }
    for (const entry of entries) {
      const value = parse(entry);
      if (value !== undefined) values.push(value);
      else problems.push({ code: "ISTHMUS_EXCLUSION_LIST", message: `"${entry}" cannot be read`, field });
    }
  }
  return { values, problems };
}

function parsePort(text: string): number | undefined {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

function parseRangeText(text: string): string | undefined {
  return parseRange(text)?.range;
}

/** A pod's own exclusions on top of the mesh-wide ones. */
export function readExclusions(annotations: Annotations, mesh: TrafficExclusions): Result<TrafficExclusions> {
  const outboundPorts = readList(annotations, "outbound-port-exclusion-list", parsePort);
  const inboundPorts = readList(annotations, "inbound-port-exclusion-list", parsePort);
  const outboundRanges = readList(annotations, "outbound-ip-range-exclusion-list", parseRangeText);
  const onlyRanges = readList(annotations, "outbound-ip-range-inclusion-list", parseRangeText);
  const problems = [outboundPorts, inboundPorts, outboundRanges, onlyRanges].flatMap((list) => list.problems);
  if (problems.length > 0) return err(problems);
  const own = {
    outboundPorts: outboundPorts.values,
    inboundPorts: inboundPorts.values,
    outboundRanges: outboundRanges.values,
    outboundOnlyRanges: onlyRanges.values,
  };
  return ok(joinedExclusions(mesh, own));
}
