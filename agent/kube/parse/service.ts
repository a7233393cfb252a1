// v1 Service -> ServiceInput. The API server has validated it; we still trust no shape.
import type { ServiceInput, ServicePortInput } from "../../ir/inputs.ts";
import type { Result } from "../../../shared/result.ts";
import { readObject, type FieldReader } from "./field-reader.ts";
import { entryOf, labelName, readLabels, readNames } from "./metadata.ts";

const MAX_PORTS = 1000;

export function parseService(object: unknown): Result<ServiceInput> {
  return readObject(object, (root) => {
    const spec = root.at("spec");
    const addresses = spec.at("clusterIPs").list({ max: 2 });
    const clusterIps = addresses.map((address) => address.text({ maxLength: 45 })).filter((ip) => ip !== "None");
    return {
      ...readNames(root),
      clusterIps,
      type: typeOf(spec, addresses),
      selector: Object.fromEntries(spec.at("selector").texts({ max: 256 })),
      ports: spec.at("ports").list({ max: MAX_PORTS }).map(readPort),
      importOf: importOf(readLabels(root)),
    };
  });
}

function typeOf(spec: FieldReader, addresses: readonly FieldReader[]): ServiceInput["type"] {
  if (spec.at("type").text({ otherwise: "ClusterIP" }) === "ExternalName") return "ExternalName";
  return addresses.some((address) => address.raw === "None") ? "Headless" : "ClusterIP";
}

function readPort(field: FieldReader): ServicePortInput {
  const port = field.at("port").integer({ min: 1, max: 65_535 });
  const protocol = field.at("protocol").text({ otherwise: "TCP" });
  return {
    name: field.at("name").text({ otherwise: "", maxLength: 63 }),
    port,
    targetPort: readTargetPort(field.at("targetPort"), port),
    protocol: protocol === "UDP" || protocol === "SCTP" ? protocol : "TCP",
    appProtocol: field.at("appProtocol").text({ otherwise: "", maxLength: 316 }),
  };
}

/** Absent (and the 0 that old clients wrote) means the service's own port. */
function readTargetPort(field: FieldReader, port: number): number | string {
  if (typeof field.raw === "string") return field.text({ maxLength: 63 });
  return field.integer({ min: 0, max: 65_535, otherwise: 0 }) || port;
}

/** Both labels, set by the agent on the Services that it makes for imports. */
function importOf(labels: Readonly<Record<string, string>>): string {
  const namespace = entryOf(labels, labelName.importNamespace);
  const service = entryOf(labels, labelName.importService);
  return namespace === "" || service === "" ? "" : `${namespace}/${service}`;
}
