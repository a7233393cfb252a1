// The server's half of a verdict: whether the sidecar of a workload lets a caller do something, and which grant decides. It asks the
// functions that the translation to Envoy asks (ir/grants, ir/modes), so the two cannot come apart; a property test holds it to a real
// Envoy. Regexes are RE2 and never run as JavaScript's: how to match one is a parameter. Pure.
import { parseClusterName, trustDomainOf } from "../../shared/ids.ts";
import { grantsPort, grantsTo, namesCaller, opensHttp, opensTcp, wholePathRegex, type Account } from "../ir/grants.ts";
import { isPermissive } from "../ir/modes.ts";
import { protocolFamily } from "../ir/protocols.ts";
import type { GrantIr, HttpMatchIr, InboundPortIr, MeshIr } from "../ir/types.ts";
import type { SeenHttp } from "./request.ts";

/** Whether the whole of `text` matches an RE2 expression. */
export type MatchesRegex = (regex: string, text: string) => boolean;

export interface Principal extends Account {
  readonly cluster: string;
}

/** A server's sidecar, at one of its ports. */
export interface ServerPort extends Account {
  readonly inbound: InboundPortIr;
}

export type ServerRefusal =
  | "revoked"
  /** No target names both this caller and this server. */
  | "no-grant"
  /** Targets name both, none of them this port. */
  | "port"
  /** Targets name both and the port, but hold HTTP rules alone, and this port speaks something else. */
  | "http-only"
  /** No match is for this method, path and headers. */
  | "no-match";

export type ServerVerdict =
  | { readonly allowed: true; readonly why: "permissive" }
  | { readonly allowed: true; readonly why: "grant"; readonly grant: GrantIr; readonly match?: HttpMatchIr }
  | {
      readonly allowed: false;
      readonly why: ServerRefusal;
      /** The grants that came nearest: those that passed every test but the one that failed. */
      readonly near: readonly GrantIr[];
    };

function isRevoked(ir: MeshIr, { cluster }: Principal): boolean {
  const name = parseClusterName(cluster);
  return name.ok && ir.revokedTrustDomains.includes(trustDomainOf(name.value, ir.fleetDomain));
}

export function matchesHttp(match: HttpMatchIr, request: SeenHttp, matches: MatchesRegex): boolean {
  const { method, path, headers } = request;
  if (match.pathRegex !== "" && !matches(wholePathRegex(match.pathRegex), path)) return false;
  const anyMethod = match.methods.length === 0 || match.methods.includes("*");
  if (!anyMethod && !match.methods.includes(method)) return false;
  return match.headers.every(({ name, valueRegex }) => {
    const value = headers[name === ":authority" ? "host" : name];
    return value !== undefined && matches(valueRegex, value);
  });
}

function httpVerdict(
  { grants, port }: { readonly grants: readonly GrantIr[]; readonly port: number },
  request: SeenHttp,
  matches: MatchesRegex,
): ServerVerdict {
  const atPort = grants.filter((grant) => opensHttp(grant) && grantsPort(grant, port));
  if (atPort.length === 0) return { allowed: false, why: "port", near: grants };
  for (const grant of atPort) {
    if (grant.http === "any") return { allowed: true, why: "grant", grant };
    const match = grant.http.find((each) => matchesHttp(each, request, matches));
    if (match !== undefined) return { allowed: true, why: "grant", grant, match };
  }
  return { allowed: false, why: "no-match", near: atPort };
}

function tcpVerdict(grants: readonly GrantIr[], port: number): ServerVerdict {
  const grant = grants.find((each) => opensTcp(each, port));
  if (grant !== undefined) return { allowed: true, why: "grant", grant };
  const atPort = grants.filter((each) => grantsPort(each, port));
  return atPort.length > 0
    ? { allowed: false, why: "http-only", near: atPort }
    : { allowed: false, why: "port", near: grants };
}

/** What the server's sidecar answers to a caller with a certificate. `request` is looked at where the port speaks HTTP. */
export function serverVerdict(
  ir: MeshIr,
  server: ServerPort,
  principal: Principal,
  call: { readonly request: SeenHttp; readonly matches: MatchesRegex },
): ServerVerdict {
  if (isRevoked(ir, principal)) return { allowed: false, why: "revoked", near: [] };
  if (isPermissive(ir, server.namespace)) return { allowed: true, why: "permissive" };
  const grants = grantsTo(ir.grants, server).filter((grant) => namesCaller(grant, principal, principal.cluster));
  if (grants.length === 0) return { allowed: false, why: "no-grant", near: grantsTo(ir.grants, server) };
  const { port, protocol } = server.inbound;
  return protocolFamily(protocol) === "http"
    ? httpVerdict({ grants, port }, call.request, call.matches)
    : tcpVerdict(grants, port);
}
