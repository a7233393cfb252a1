// config.openservicemesh.io MeshConfig (v1alpha2 and v1alpha1 have these parts in common) -> MeshConfigInput. OSM knows one object,
// by its name. Fields that are about OSM itself (its images, logs, resync) mean nothing here and are left alone; those that ask for something
// which is not done here are named.
import { parseRange } from "../../../shared/address-range.ts";
import type { Result } from "../../../shared/result.ts";
import type { ConfiguredExclusions, MeshConfigInput } from "../../ir/inputs.ts";
import { limitCode, readObject, type FieldReader } from "./field-reader.ts";
import { isBeingDeleted, readNames } from "./metadata.ts";

const theOne = "osm-mesh-config";
/** More than any list seen; bounds each pod's rules. */
const MAX_ENTRIES = 256;

function flagOf(field: FieldReader): boolean | undefined {
  return field.raw === undefined || field.raw === null ? undefined : field.flag(true);
}

function portsOf(field: FieldReader): readonly number[] {
  return field.list({ max: MAX_ENTRIES }).map((item) => item.integer({ min: 1, max: 65_535 }));
}

function rangesOf(field: FieldReader): readonly string[] {
  return field.list({ max: MAX_ENTRIES }).flatMap((item) => {
    const text = item.text();
    const range = parseRange(text)?.range;
    if (range === undefined && text !== "") item.report("is no address and no range of them (CIDR)", limitCode);
    return range ?? [];
  });
}

function exclusionsOf(traffic: FieldReader): ConfiguredExclusions {
  return {
    outboundPorts: portsOf(traffic.at("outboundPortExclusionList")),
    inboundPorts: portsOf(traffic.at("inboundPortExclusionList")),
    outboundRanges: rangesOf(traffic.at("outboundIPRangeExclusionList")),
    outboundOnlyRanges: rangesOf(traffic.at("outboundIPRangeInclusionList")),
  };
}

/** Whoever wrote these relies on what they ask for. */
function unmetOf(spec: FieldReader): readonly string[] {
  const traffic = spec.at("traffic");
  const wishes: readonly (readonly [FieldReader, (raw: unknown) => boolean])[] = [
    [traffic.at("inboundExternalAuthorization").at("enable"), (raw) => raw === true],
    [traffic.at("networkInterfaceExclusionList"), (raw) => Array.isArray(raw) && raw.length > 0],
    [spec.at("sidecar").at("localProxyMode"), (raw) => raw === "PodIP"],
    [spec.at("observability").at("tracing").at("enable"), (raw) => raw === true],
  ];
  return wishes.filter(([field, isWish]) => isWish(field.raw)).map(([field]) => field.path);
}

export function parseMeshConfig(object: unknown): Result<MeshConfigInput | undefined> {
  return readObject(object, (root) => {
    const names = readNames(root);
    if (names.name !== theOne || isBeingDeleted(root)) return undefined;
    const spec = root.at("spec").map();
    const traffic = spec.at("traffic").map();
    const egress = flagOf(traffic.at("enableEgress"));
    const permissive = flagOf(traffic.at("enablePermissiveTrafficPolicyMode"));
    return {
      ...names,
      ...(egress === undefined ? {} : { egress }),
      ...(permissive === undefined ? {} : { permissive }),
      exclusions: exclusionsOf(traffic),
      unmet: unmetOf(spec),
    };
  });
}
