// Every xDS resource name, made and parsed in this one place; the round trip is property-tested. `|` separates the parts, as in
// `outbound|fleet|shop|cart|80`. Names come from other members too: `|` and `%` inside a part are escaped, so no part can pose as two.
// SNI names are made by agent/ir/sni.ts (they are part of what an endpoint is) and parsed here, from the right.
import { parseClusterName, type ClusterName, type FleetDomain } from "../../shared/ids.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";
import { MAX_SNI_LENGTH } from "../ir/sni.ts";

/** A port of a callable service as a client sees it. Cluster, filter chain and route configuration share the name. */
export interface ServicePortName {
  readonly scope: "cluster" | "fleet";
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
}

/** How the local application is spoken to; "same" keeps the version of the plaintext caller (permissive mode). */
export type LocalProtocol = "h1" | "h2" | "same" | "tcp";

/** "balanced": a headless service whose pod the client chooses, not the application. */
const servicePortKinds = ["outbound", "balanced", "plaintext", "identities"] as const;
type ServicePortKind = (typeof servicePortKinds)[number];

export type ResourceName =
  | ({ readonly kind: ServicePortKind } & ServicePortName)
  /** The HTTP filter of a chain (ECDS); `version`: of its content but for the names in it. */
  | ({ readonly kind: "requests"; readonly version: string } & ServicePortName)
  | { readonly kind: "inbound" | "inbound-plaintext" | "callers"; readonly port: number }
  | { readonly kind: "inbound-foreign" | "foreign-callers"; readonly port: number; readonly fleet: string }
  | { readonly kind: "foreign-roots"; readonly fleet: string }
  | { readonly kind: "application"; readonly port: number; readonly protocol: LocalProtocol }
  | { readonly kind: "bound-inbound" | "bound-outbound"; readonly address: string; readonly port: number }
  | ({ readonly kind: "export" } & Omit<ServicePortName, "scope">)
  | ({ readonly kind: "export-chain"; readonly peer: string } & Omit<ServicePortName, "scope">);

/** Names that stand for one thing per proxy. */
export const fixedNames = {
  outboundListener: "outbound",
  inboundListener: "inbound",
  gatewayListener: "gateway",
  httpProxy: "http-proxy",
  svid: "svid",
  roots: "roots",
  passthrough: "passthrough",
  outside: "outside",
  denyHttp: "deny-http",
  undeclaredHttp: "undeclared-http",
  undeclaredApplication: "undeclared-application",
  health: "health",
  unready: "unready",
} as const;

function escapePart(part: string): string {
  return part.replaceAll("%", "%25").replaceAll("|", "%7C");
}

function unescapePart(part: string): string {
  return part.replaceAll("%7C", "|").replaceAll("%25", "%");
}

function join(...parts: readonly (string | number)[]): string {
  return parts.map((part) => escapePart(String(part))).join("|");
}

type ForeignName = Extract<ResourceName, { readonly fleet: string }>;

function formatForeign(name: ForeignName): string {
  return name.kind === "foreign-roots" ? join(name.kind, name.fleet) : join(name.kind, name.port, name.fleet);
}

export function formatName(name: ResourceName): string {
  if (name.kind === "requests")
    return join(name.kind, name.version, name.scope, name.namespace, name.service, name.port);
  if ("scope" in name) return join(name.kind, name.scope, name.namespace, name.service, name.port);
  if ("fleet" in name) return formatForeign(name);
  switch (name.kind) {
    case "application":
      return join(name.kind, name.port, name.protocol);
    case "bound-inbound":
    case "bound-outbound":
      return join(name.kind, name.address, name.port);
    case "export":
      return join(name.kind, name.namespace, name.service, name.port);
    case "export-chain":
      return join(name.kind, name.namespace, name.service, name.port, name.peer);
    case "inbound":
    case "inbound-plaintext":
    case "callers":
      return join(name.kind, name.port);
  }
}

function parsePort(text: string | undefined): number | undefined {
  if (text === undefined || !/^[1-9][0-9]{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65535 ? port : undefined;
}

type Parts = readonly (string | undefined)[];

function parseServicePort([scope, namespace, service, last]: Parts): ServicePortName | undefined {
  const port = parsePort(last);
  if (
    (scope !== "cluster" && scope !== "fleet") ||
    namespace === undefined ||
    service === undefined ||
    port === undefined
  )
    return undefined;
  return { scope, namespace, service, port };
}

function parseRequests([version, ...rest]: Parts): ResourceName | undefined {
  const port = parseServicePort(rest);
  return port === undefined || version === undefined ? undefined : { kind: "requests", version, ...port };
}

function parseExport([namespace, service, middle, peer]: Parts): ResourceName | undefined {
  const port = parsePort(middle);
  if (namespace === undefined || service === undefined || port === undefined) return undefined;
  return peer === undefined
    ? { kind: "export", namespace, service, port }
    : { kind: "export-chain", namespace, service, port, peer };
}

function parseLocal(
  kind: "inbound" | "inbound-plaintext" | "callers" | "application",
  [first, protocol]: Parts,
): ResourceName | undefined {
  const port = parsePort(first);
  if (port === undefined) return undefined;
  if (kind !== "application") return { kind, port };
  return protocol === "h1" || protocol === "h2" || protocol === "same" || protocol === "tcp"
    ? { kind, port, protocol }
    : undefined;
}

/** Names of other fleets, and nothing else. */
function parseForeign(kind: string, [first, second]: Parts): ResourceName | undefined {
  if (kind === "foreign-roots") return first === undefined ? undefined : { kind, fleet: first };
  if (kind !== "inbound-foreign" && kind !== "foreign-callers") return undefined;
  const port = parsePort(first);
  return port === undefined || second === undefined ? undefined : { kind, port, fleet: second };
}

function parseBound(kind: "bound-inbound" | "bound-outbound", [address, last]: Parts): ResourceName | undefined {
  const port = parsePort(last);
  return address === undefined || port === undefined ? undefined : { kind, address, port };
}

function parseParts(kind: string, parts: Parts): ResourceName | undefined {
  const servicePort = servicePortKinds.find((known) => known === kind);
  if (servicePort !== undefined) {
    const port = parseServicePort(parts);
    return port === undefined ? undefined : { kind: servicePort, ...port };
  }
  switch (kind) {
    case "requests":
      return parseRequests(parts);
    case "inbound":
    case "inbound-plaintext":
    case "callers":
    case "application":
      return parseLocal(kind, parts);
    case "bound-inbound":
    case "bound-outbound":
      return parseBound(kind, parts);
    case "export":
    case "export-chain":
      return parseExport(parts);
    default:
      return parseForeign(kind, parts);
  }
}

/** The inverse of formatName: whatever it would not have made is no name of ours. */
export function parseName(text: string): Result<ResourceName> {
  const [kind = "", ...parts] = text.split("|").map(unescapePart);
  const name = parseParts(kind, parts);
  if (name === undefined || formatName(name) !== text)
    return rejected("ISTHMUS_XDS_NAME", "not the name of an xDS resource of ours");
  return ok(name);
}

export interface ServiceSni {
  readonly kind: "service";
  readonly port: number;
  readonly service: string;
  readonly namespace: string;
  readonly caller: ClusterName;
  readonly callee: ClusterName;
}

export type Sni = ServiceSni | { readonly kind: "health"; readonly cluster: ClusterName };

/** Where peers probe a member's gateways. */
export function healthSni(cluster: ClusterName, fleet: FleetDomain): string {
  return `health.${cluster}.sni.${fleet}`;
}

/** What a sidecar offers to a sidecar of its own cluster: the server's chain is chosen by port, the name only fills TLS logs. */
export function localSni(fleet: FleetDomain): string {
  return `sidecar.sni.${fleet}`;
}

function parseServiceSni(labels: readonly string[]): Sni | undefined {
  const [first, service, namespace, callerText, calleeText] = labels;
  const port = first?.startsWith("p") === true ? parsePort(first.slice(1)) : undefined;
  const caller = parseClusterName(callerText ?? "");
  const callee = parseClusterName(calleeText ?? "");
  if (port === undefined || !caller.ok || !callee.ok) return undefined;
  if (service === undefined || namespace === undefined || service === "" || namespace === "") return undefined;
  return { kind: "service", port, service, namespace, caller: caller.value, callee: callee.value };
}

/** Reads an SNI name of this fleet from the right: the fleet's labels are known, so no service name can pose as another member. */
export function parseSni(text: string, fleet: FleetDomain): Result<Sni> {
  const suffix = `.sni.${fleet}`;
  const labels = text.length <= MAX_SNI_LENGTH && text.endsWith(suffix) ? text.slice(0, -suffix.length).split(".") : [];
  if (labels.length === 5) {
    const sni = parseServiceSni(labels);
    if (sni !== undefined) return ok(sni);
  }
  if (labels.length === 2 && labels[0] === "health") {
    const cluster = parseClusterName(labels[1] ?? "");
    if (cluster.ok) return ok({ kind: "health", cluster: cluster.value });
  }
  return rejected("ISTHMUS_SNI", `not an SNI name of ${fleet}`);
}
