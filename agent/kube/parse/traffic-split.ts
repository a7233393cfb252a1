// split.smi-spec.io TrafficSplit of any version -> TrafficSplitInput. A split that cannot be read as a whole splits nothing.
import type { Result } from "../../../shared/result.ts";
import type { TrafficSplitInput } from "../../ir/inputs.ts";
import { MAX_WEIGHT } from "../../smi/traffic-split.ts";
import { limitCode, type FieldReader } from "./field-reader.ts";
import { isBeingDeleted, readCreatedAtMs, readName } from "./metadata.ts";
import { readPolicyNames, readSmiObject } from "./smi-object.ts";

const MAX_BACKENDS = 256;
const MAX_MATCHES = 64;
const MAX_HOST = 253;
/** A service's name, alone, with its namespace, or whole; a trailing dot is that of an absolute name. */
const serviceName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?$/;

export function parseTrafficSplit(object: unknown): Result<TrafficSplitInput | undefined> {
  return readSmiObject(object, (root) => {
    if (isBeingDeleted(root)) return undefined;
    const spec = root.at("spec").map();
    const backends = spec.at("backends").list({ max: MAX_BACKENDS, required: true });
    const split = {
      ...readPolicyNames(root),
      createdAtMs: readCreatedAtMs(root),
      service: readService(spec.at("service")),
      backends: backends.map(readBackend),
      matches: spec.at("matches").list({ max: MAX_MATCHES }).map(readMatch),
    };
    const total = split.backends.reduce((sum, { weight }) => sum + weight, 0);
    if (total > 0xffff_ffff) spec.at("backends").report("weigh more than 4294967295 together", limitCode);
    return split;
  });
}

function readService(field: FieldReader): string {
  const wanted = "the name of a service, such as cart, cart.shop or cart.shop.svc.cluster.local";
  return field.text({ maxLength: MAX_HOST, pattern: serviceName, wanted });
}

function readBackend(field: FieldReader): TrafficSplitInput["backends"][number] {
  return {
    service: readService(field.at("service")),
    weight: field.at("weight").integer({ min: 0, max: MAX_WEIGHT }),
  };
}

function readMatch(field: FieldReader): TrafficSplitInput["matches"][number] {
  const kind = field.at("kind").text({ maxLength: 64 });
  if (kind !== "HTTPRouteGroup" && kind !== "") field.at("kind").report("must be HTTPRouteGroup");
  return { kind, name: readName(field.at("name")) };
}
