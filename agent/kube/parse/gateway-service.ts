// The Service `isthmus-gateway`: where other members reach this one's gateways, as its load balancer says.
import type { Result } from "../../../shared/result.ts";
import { readObject } from "./field-reader.ts";
import { readNames, type Names } from "./metadata.ts";

export interface GatewayServiceRecord extends Names {
  /** IP literals and host names, as given; resolving the latter is gateway-address.ts' work. */
  readonly hosts: readonly string[];
  readonly port: number;
}

export const GATEWAY_PORT = 15_443;

export function parseGatewayService(object: unknown): Result<GatewayServiceRecord> {
  return readObject(object, (root) => {
    const ports = root.at("spec").at("ports").list({ max: 100 });
    const ingress = root.at("status").at("loadBalancer").at("ingress").list({ max: 64 });
    const hosts = ingress.map(
      (entry) => entry.at("ip").text({ otherwise: "" }) || entry.at("hostname").text({ otherwise: "", maxLength: 253 }),
    );
    return {
      ...readNames(root),
      hosts: hosts.filter((host) => host !== ""),
      port: ports[0]?.at("port").integer({ min: 1, max: 65_535 }) ?? GATEWAY_PORT,
    };
  });
}
