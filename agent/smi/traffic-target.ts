// TrafficTarget v1alpha1 (no `spec`; rules are called `specs`), v1alpha2, v1alpha3 (a port is said by a TCPRoute, no longer by
// the destination). The port of an older target goes on to restrict it: as an annotation that the newest version reads.
import type { JsonObject } from "../kube/json.ts";
import { fieldOf, isObject } from "../kube/json.ts";
import { ok } from "../../shared/result.ts";
import type { Conversion } from "./conversion.ts";
import { without } from "./fields.ts";
import { annotationOf, withAnnotation } from "./kept.ts";

export const destinationPortAnnotation = "isthmus.dev/destination-port";

export const trafficTargetConversion: Conversion = {
  up: (version, { object, kept }) => {
    const under = version === "v1alpha1" ? specUp(object) : object;
    return ok({ object: portUp(under), kept });
  },
  down: (version, { object, kept }) => {
    const ported = portDown(object);
    return { object: version === "v1alpha1" ? specDown(ported) : ported, kept };
  },
};

const bodyFields = ["destination", "sources", "specs"];

function specUp(object: JsonObject): JsonObject {
  const { destination, sources, specs } = object;
  const spec = present({ destination, sources, rules: specs });
  return { ...without(object, ...bodyFields), spec };
}

function specDown(object: JsonObject): JsonObject {
  const spec = object["spec"];
  const body = present({
    destination: fieldOf(spec, "destination"),
    sources: fieldOf(spec, "sources"),
    specs: fieldOf(spec, "rules"),
  });
  return { ...without(object, "spec"), ...body };
}

function present(fields: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function portUp(object: JsonObject): JsonObject {
  const port = fieldOf(object, "spec", "destination", "port");
  // whoever rewrites an older version without the port has taken the restriction away: a stale one must not stay
  if (port === undefined || port === null) return withDestination(object, (all) => without(all, "port"));
  const text = typeof port === "string" ? port : JSON.stringify(port);
  return withAnnotation(
    withDestination(object, (all) => without(all, "port")),
    destinationPortAnnotation,
    text,
  );
}

/** Only a number: what is none stays where its author wrote it, and is refused there. */
function portDown(object: JsonObject): JsonObject {
  const text = annotationOf(object, destinationPortAnnotation);
  if (!/^[1-9]\d{0,4}$/.test(text) || !isObject(fieldOf(object, "spec", "destination"))) return object;
  const ported = withDestination(object, (all) => ({ ...all, port: Number(text) }));
  return withAnnotation(ported, destinationPortAnnotation, undefined);
}

function withDestination(object: JsonObject, change: (destination: JsonObject) => JsonObject): JsonObject {
  const spec = object["spec"];
  const destination = fieldOf(spec, "destination");
  if (!isObject(spec) || !isObject(destination)) return object;
  return { ...object, spec: { ...spec, destination: change(destination) } };
}
