// The server half of a sidecar's resources: the ports on which it takes calls, who may make them, and the application behind. Called by
// translate.
import { grantsTo, opensTcp } from "../ir/grants.ts";
import type { ForeignFleet } from "../ir/inputs.ts";
import { isPermissive } from "../ir/modes.ts";
import type { GrantIr, MeshIr } from "../ir/types.ts";
import { applicationCluster, isHttp, undeclaredApplicationCluster } from "./clusters.ts";
import { applicationOf, boundInboundListeners, inboundListener, type InboundInput } from "./inbound.ts";
import { formatName, type LocalProtocol } from "./names.ts";
import type { SidecarClass } from "./proxy.ts";
import type { Policy } from "./rbac.ts";
import { latest, type LatestOf } from "./remembered.ts";
import { put, type ResourceMaps } from "./resource-maps.ts";
import type { JsonMessage } from "./resource.ts";
import { inboundRoutes, plaintextRoutes } from "./routes.ts";
import { callersSecret, foreignRootsSecret } from "./secrets.ts";
import { unreadyRoutes } from "./unready.ts";

/** The protocols in which a port's application may be spoken to; which one, the routes say. */
function localProtocols(http: boolean, permissive: boolean): readonly LocalProtocol[] {
  if (!http) return ["tcp"];
  return permissive ? ["h1", "h2", "same"] : ["h1", "h2"];
}

/** Of ports that carry raw TCP: who may connect at all, of each fleet. Where everybody may, the fleet's roots say it. */
function callersSecrets({ ports, policy }: InboundInput, { rootsPem, fleets }: InboundTrust): readonly JsonMessage[] {
  if (policy.permissive) return [];
  return ports
    .filter(({ protocol }) => !isHttp(protocol))
    .flatMap(({ port }) => {
      const sources = policy.grants.filter((grant) => opensTcp(grant, port)).flatMap((grant) => grant.sources);
      const others = fleets.map(({ fleetDomain: fleet, rootsPem: theirsPem }) => {
        const input = { fleet, own: policy.fleet, rootsPem: theirsPem, revoked: [] };
        return callersSecret(formatName({ kind: "foreign-callers", port, fleet }), sources, input);
      });
      return [callersSecret(formatName({ kind: "callers", port }), sources, { ...policy, rootsPem }), ...others];
    });
}

export interface InboundMessages {
  readonly sds: readonly JsonMessage[];
  readonly lds: readonly JsonMessage[];
  readonly rds: readonly JsonMessage[];
  readonly cds: readonly JsonMessage[];
}

/** By which callers are verified: our own fleet's roots, and those of other fleets, each for itself. */
interface InboundTrust {
  readonly rootsPem: string;
  readonly fleets: readonly ForeignFleet[];
}

function messagesOf(
  { inbound, bound }: SidecarClass,
  policy: Policy,
  { rootsPem, fleets }: InboundTrust,
): InboundMessages {
  // a port that only a Service names is nobody's to bind: its application may listen there itself
  const ports = inbound.filter(({ port }) => bound === undefined || applicationOf(bound, port) !== undefined);
  const http = ports.filter(({ protocol }) => isHttp(protocol));
  const applications = ports.flatMap(({ port, protocol }) => {
    const address = bound === undefined ? undefined : applicationOf(bound, port);
    const protocols = localProtocols(isHttp(protocol), policy.permissive);
    return protocols.map((local) => applicationCluster(port, local, address));
  });
  const input = { ports, policy };
  const undeclaredToo = policy.permissive && bound === undefined;
  return {
    sds: [
      ...callersSecrets(input, { rootsPem, fleets }),
      ...(ports.length === 0 ? [] : fleets.map(foreignRootsSecret)),
    ],
    lds: bound === undefined ? [inboundListener(input)] : boundInboundListeners(bound, input),
    rds: http.flatMap((port) => [
      bound?.unready === true ? unreadyRoutes(port.port, policy) : inboundRoutes(port, policy),
      plaintextRoutes(port, policy.permissive),
    ]),
    cds: undeclaredToo ? [...applications, undeclaredApplicationCluster] : applications,
  };
}

const noFleets: readonly ForeignFleet[] = [];

/** Fleets with a grant to this server: only their callers get a chain, so that nobody else's listener knows of them. */
function foreignOf({ foreignFleets = noFleets }: MeshIr, grants: readonly GrantIr[]): readonly ForeignFleet[] {
  if (foreignFleets.length === 0) return noFleets;
  const named = new Set(grants.flatMap(({ sources }) => sources.map(({ fleet }) => fleet)));
  return foreignFleets.filter(({ fleetDomain }) => named.has(fleetDomain));
}

const sets: LatestOf<InboundMessages> = new WeakMap();

/** The same messages as the last time when nothing of them changed. */
export function inboundMessages(ir: MeshIr, rootsPem: string, proxy: SidecarClass): InboundMessages {
  const grants = grantsTo(ir.grants, proxy);
  const { fleetDomain: fleet, revokedTrustDomains: revoked } = ir;
  const permissive = isPermissive(ir, proxy.namespace);
  const fleets = foreignOf(ir, grants);
  const foreign = fleets.map(({ fleetDomain }) => fleetDomain);
  const policy: Policy = { fleet, grants, permissive, revoked, foreign };
  const needs = [fleet, permissive, revoked.join(" "), rootsPem, ...fleets, ...grants];
  return latest(sets, proxy, needs, () => messagesOf(proxy, policy, { rootsPem, fleets }));
}

export function addInbound(resources: ResourceMaps, messages: InboundMessages): void {
  for (const type of ["sds", "cds", "lds", "rds"] as const)
    for (const message of messages[type]) put(resources[type], message);
}
