// discovery.k8s.io/v1 EndpointSlice -> SliceInput. Slices of another kind of address, or of no Service of this cluster
// (an MCS controller's imports carry another label), mean nothing here.
import type { EndpointInput, SliceInput } from "../../ir/inputs.ts";
import type { Result } from "../../../shared/result.ts";
import { readObject, type FieldReader } from "./field-reader.ts";
import { entryOf, readLabels, readNames } from "./metadata.ts";

const serviceNameLabel = "kubernetes.io/service-name";
/** The API's own bound. */
const MAX_ENDPOINTS = 1000;
const MAX_PORTS = 20_000;

export function parseEndpointSlice(object: unknown): Result<SliceInput | undefined> {
  return readObject(object, (root) => {
    const service = entryOf(readLabels(root), serviceNameLabel);
    const addressType = root.at("addressType").text({ maxLength: 16 });
    if (service === "" || (addressType !== "IPv4" && addressType !== "IPv6")) return undefined;
    return {
      ...readNames(root),
      service,
      ports: root.at("ports").list({ max: MAX_PORTS }).flatMap(readPort),
      endpoints: root.at("endpoints").list({ max: MAX_ENDPOINTS }).flatMap(readEndpoint),
    };
  });
}

/** A port without a number means "all ports", which only headless services without ports have: nothing to route to. */
function readPort(field: FieldReader): SliceInput["ports"] {
  const number = field.at("port");
  if (number.raw === undefined || number.raw === null) return [];
  return [
    { name: field.at("name").text({ otherwise: "", maxLength: 63 }), port: number.integer({ min: 1, max: 65_535 }) },
  ];
}

/** Addresses of one endpoint are interchangeable, so the first stands for all (the API's own advice). */
function readEndpoint(field: FieldReader): readonly EndpointInput[] {
  const [address] = field.at("addresses").list({ max: 100, required: true });
  if (address === undefined) return [];
  const conditions = field.at("conditions");
  const target = field.at("targetRef");
  const isPod = target.at("kind").raw === "Pod";
  // unknown is ready, and serving as ready: what the API says of absent conditions
  const ready = conditions.at("ready").flag(true);
  return [
    {
      address: address.text({ maxLength: 45 }),
      ready,
      serving: conditions.at("serving").flag(ready),
      terminating: conditions.at("terminating").flag(false),
      podName: isPod ? target.at("name").text({ otherwise: "", maxLength: 253 }) : "",
      hostname: field.at("hostname").text({ otherwise: "", maxLength: 63 }),
      zone: field.at("zone").text({ otherwise: "", maxLength: 253 }),
    },
  ];
}
