// access.smi-spec.io TrafficTarget of any version -> TrafficTargetInput. A target that cannot be read as a whole grants nothing.
import { parseClusterName } from "../../../shared/ids.ts";
import type { Result } from "../../../shared/result.ts";
import { parseForeignSource } from "../../ir/foreign-fleets.ts";
import type { SubjectInput, TrafficTargetInput } from "../../ir/inputs.ts";
import type { FieldReader } from "./field-reader.ts";
import { sourceClustersAnnotation } from "../../smi/manifest.ts";
import { destinationPortAnnotation } from "../../smi/traffic-target.ts";
import { entryOf, isBeingDeleted, readAnnotations, readName, readNamespaceName } from "./metadata.ts";
import { readPolicyNames, readSmiObject } from "./smi-object.ts";

const MAX_SOURCES = 1000;
const MAX_RULES = 256;
const MAX_MATCHES = 512;
const MAX_CLUSTERS = 256;
const ruleKinds: ReadonlySet<string> = new Set(["HTTPRouteGroup", "TCPRoute", "UDPRoute"]);
const sourceFleetsAnnotation = "isthmus.dev/source-fleets";

export function parseTrafficTarget(object: unknown): Result<TrafficTargetInput | undefined> {
  return readSmiObject(object, (root) => {
    if (isBeingDeleted(root)) return undefined;
    const names = readPolicyNames(root);
    const spec = root.at("spec");
    const destination = readSubject(spec.at("destination"), names.namespace);
    if (destination.namespace !== names.namespace) {
      // OSM #4116: otherwise the author of one namespace could open another's workloads
      spec.at("destination").at("namespace").report(`must be the target's own namespace, "${names.namespace}"`);
    }
    return {
      ...names,
      destination,
      sources: spec
        .at("sources")
        .list({ max: MAX_SOURCES, required: true })
        .map((source) => readSubject(source, names.namespace)),
      rules: spec.at("rules").list({ max: MAX_RULES, required: true }).map(readRule),
      sourceClusters: readSourceClusters(root),
      ...readDestinationPort(root),
      ...readSourceFleets(root),
    };
  });
}

function readSubject(field: FieldReader, namespace: string): SubjectInput {
  const kind = field.at("kind").text({ maxLength: 64 });
  if (kind !== "ServiceAccount" && kind !== "") field.at("kind").report("must be ServiceAccount");
  return { kind, name: readName(field.at("name")), namespace: readNamespaceName(field.at("namespace"), namespace) };
}

function readRule(field: FieldReader): TrafficTargetInput["rules"][number] {
  const kind = field.at("kind").text({ maxLength: 64 });
  if (!ruleKinds.has(kind) && kind !== "") field.at("kind").report(`must be one of ${[...ruleKinds].join(", ")}`);
  return {
    kind,
    name: readName(field.at("name")),
    matches: field
      .at("matches")
      .list({ max: MAX_MATCHES })
      .map((match) => match.text({ maxLength: 253 })),
  };
}

/** What the first versions said in a field of the destination. One that cannot be read must not open every port. */
function readDestinationPort(root: FieldReader): Pick<TrafficTargetInput, "destinationPort"> {
  const text = entryOf(readAnnotations(root), destinationPortAnnotation);
  if (text === "") return {};
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  if (port === 0 || port > 65_535)
    root.at("metadata").at("annotations").at(destinationPortAnnotation).report("must be a port from 1 to 65535");
  return { destinationPort: port };
}

/** `*.beta.mesh,east.gamma.mesh`: members of other fleets, by trust domain. */
function readSourceFleets(root: FieldReader): Pick<TrafficTargetInput, "sourceFleets"> {
  const field = root.at("metadata").at("annotations").at(sourceFleetsAnnotation);
  const names = entryOf(readAnnotations(root), sourceFleetsAnnotation)
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  if (names.length > MAX_CLUSTERS) field.report(`names more than ${MAX_CLUSTERS} trust domains`);
  for (const name of names) {
    if (!parseForeignSource(name).ok)
      field.report(
        `"${name.slice(0, 64)}" is no member of another fleet: write east.beta.mesh, or *.beta.mesh for all`,
      );
  }
  return names.length === 0 ? {} : { sourceFleets: [...new Set(names)].sort() };
}

/** `west,north` or `*`; a misspelt cluster must not silently narrow or widen the grant. */
function readSourceClusters(root: FieldReader): readonly string[] {
  const field = root.at("metadata").at("annotations").at(sourceClustersAnnotation);
  const names = entryOf(readAnnotations(root), sourceClustersAnnotation)
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  if (names.length > MAX_CLUSTERS) field.report(`names more than ${MAX_CLUSTERS} clusters`);
  if (names.includes("*")) return ["*"];
  for (const name of names)
    if (!parseClusterName(name).ok) field.report(`"${name.slice(0, 64)}" is not a cluster name`);
  return [...new Set(names)].sort();
}
