// specs.smi-spec.io TCPRoute of any version, and UDPRoute, -> TcpRouteInput. No matches, or a match without ports, means every port.
import type { Result } from "../../../shared/result.ts";
import type { TcpRouteInput } from "../../ir/inputs.ts";
import type { FieldReader } from "./field-reader.ts";
import { isBeingDeleted } from "./metadata.ts";
import { readPolicyNames, readSmiObject } from "./smi-object.ts";

const MAX_MATCHES = 512;
const MAX_PORTS = 1024;

export function parseTcpRoute(object: unknown): Result<TcpRouteInput | undefined> {
  return readSmiObject(object, (root) => {
    if (isBeingDeleted(root)) return undefined;
    return { ...readPolicyNames(root), matches: readMatches(root.at("spec").map().at("matches")) };
  });
}

/** The CRD says one object; some manifests write a list. */
function readMatches(field: FieldReader): TcpRouteInput["matches"] {
  if (field.raw === undefined || field.raw === null) return [{ name: "", ports: [] }];
  const matches = Array.isArray(field.raw) ? field.list({ max: MAX_MATCHES }) : [field];
  return matches.map((item) => readMatch(item.map()));
}

function readMatch(match: FieldReader): TcpRouteInput["matches"][number] {
  return {
    name: match.at("name").text({ otherwise: "", maxLength: 253 }),
    ports: match
      .at("ports")
      .list({ max: MAX_PORTS })
      .map((port) => port.integer({ min: 1, max: 65_535 })),
  };
}
