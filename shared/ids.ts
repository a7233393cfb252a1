// Names of the fleet: parsed once where they enter, branded ever after.
// SPIFFE-ID.md section 2: lower-case host, no port, user info, query, fragment or percent-encoding; no empty, `.` or `..` segment.
import { ok, rejected, type Result } from "./result.ts";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** DNS domain of the whole fleet, e.g. `acme.mesh`. */
export type FleetDomain = Branded<"FleetDomain">;
/** DNS label that names a member, e.g. `east`. */
export type ClusterName = Branded<"ClusterName">;
/** `<cluster>.<fleet domain>`: the SPIFFE trust domain of one member. */
export type TrustDomain = Branded<"TrustDomain">;
export type SpiffeId = Branded<"SpiffeId">;

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** X.509 name constraints and SNI names of ours need room: `<port>.<svc>.<ns>.<caller>.<callee>.sni.<fleet>` within 253. */
const MAX_FLEET_DOMAIN = 63;
/** Names that would be read as something else in a SPIFFE path or an SNI name. */
const reservedClusterNames: ReadonlySet<string> = new Set(["agent", "hub", "sni", "root", "all"]);

export function parseFleetDomain(text: string): Result<FleetDomain> {
  const labels = text.split(".");
  if (text.length > MAX_FLEET_DOMAIN || labels.length < 2 || !labels.every((part) => label.test(part))) {
    return rejected(
      "ISTHMUS_FLEET_DOMAIN",
      `"${text}" is not a fleet domain: give two or more DNS labels, at most ${MAX_FLEET_DOMAIN} characters, such as acme.mesh`,
    );
  }
  return ok(text as FleetDomain);
}

export function parseClusterName(text: string): Result<ClusterName> {
  if (!label.test(text)) {
    return rejected(
      "ISTHMUS_CLUSTER_NAME",
      `"${text}" is not a cluster name: give one DNS label (a-z, 0-9, -), at most 63 characters`,
    );
  }
  if (reservedClusterNames.has(text))
    return rejected("ISTHMUS_CLUSTER_NAME", `"${text}" is a reserved name; choose another`);
  return ok(text as ClusterName);
}

export function trustDomainOf(cluster: ClusterName, fleet: FleetDomain): TrustDomain {
  return `${cluster}.${fleet}` as TrustDomain;
}

export interface WorkloadName {
  readonly trustDomain: TrustDomain;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export function workloadSpiffeId(name: WorkloadName): SpiffeId {
  return `spiffe://${name.trustDomain}/ns/${name.namespace}/sa/${name.serviceAccount}` as SpiffeId;
}

/** The agent's own credential towards the hub; never valid as a workload (its host is the fleet domain, not a cluster's). */
export function agentSpiffeId(cluster: ClusterName, fleet: FleetDomain): SpiffeId {
  return `spiffe://${fleet}/agent/${cluster}` as SpiffeId;
}

export function hubSpiffeId(fleet: FleetDomain): SpiffeId {
  return `spiffe://${fleet}/hub` as SpiffeId;
}

export interface ParsedSpiffeId {
  readonly trustDomain: string;
  readonly path: readonly string[];
}

const spiffe = /^spiffe:\/\/([a-z0-9._-]{1,255})((?:\/[A-Za-z0-9._-]+)+)$/;

/** Strict parser, used wherever an identity enters: TLS libraries accept what SPIFFE forbids (two URI SANs, `..`, ports). */
export function parseSpiffeId(text: string): Result<ParsedSpiffeId> {
  const match = text.length <= 2048 ? spiffe.exec(text) : null;
  const path = match?.[2]?.slice(1).split("/") ?? [];
  if (match?.[1] === undefined || path.some((segment) => segment === "." || segment === "..")) {
    return rejected("ISTHMUS_SPIFFE_ID", "not a SPIFFE ID with a path: spiffe://<trust domain>/<segment>[/<segment>]");
  }
  return ok({ trustDomain: match[1], path });
}
