// Who calls: the agent's identity is its TLS client certificate and nothing else, asked anew at every call, so that a
// revoked member's open connection is worth nothing. The handshake has verified the chain to the fleet's roots.
import { status, type ServiceError } from "@grpc/grpc-js";
import { fleetError } from "../../shared/grpc/fleet-status.ts";
import { parseClusterName, parseSpiffeId, type ClusterName, type FleetDomain } from "../../shared/ids.ts";
import { spkiPin } from "../../shared/pki/key.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import type { Member, MemberState } from "../registry/member.ts";
import type { Members } from "../store/members.ts";

export interface Caller {
  readonly cluster: ClusterName;
  /** `sha256/...` of the key that this connection uses. */
  readonly spki: string;
}

interface AuthenticatedCall {
  getAuthContext(): { readonly sslPeerCertificate?: { readonly raw: Uint8Array } };
}

export type Authenticate = (call: AuthenticatedCall) => Promise<Caller>;

export interface CallerDeps {
  readonly fleet: FleetDomain;
  readonly members: Members;
  /** The signed word of the hub, which no write to Redis can change. */
  readonly isRevoked: (cluster: ClusterName) => boolean;
  readonly hasLeft: (cluster: ClusterName) => boolean;
}

export function authenticator({ fleet, members, isRevoked, hasLeft }: CallerDeps): Authenticate {
  return async (call) => {
    const der = call.getAuthContext().sslPeerCertificate?.raw;
    if (der === undefined) throw notAnAgent("no client certificate of this fleet was shown");
    const caller = readAgentCertificate(der, fleet);
    if (isRevoked(caller.cluster)) throw refusedMember(caller.cluster, hasLeft(caller.cluster) ? "left" : "revoked");
    const mayCall = (member: Member) => member.state === "accepted" && member.agentSpkis.includes(caller.spki);
    const member = await members.find(caller.cluster, mayCall);
    if (member === undefined || !mayCall(member)) throw notAMember(caller, member);
    return caller;
  };
}

/** Exactly one name, `spiffe://<fleet>/agent/<cluster>`: a workload's certificate never passes for an agent's. */
export function readAgentCertificate(der: Uint8Array, fleet: FleetDomain): Caller {
  const facts = parseCertificate(der);
  if (!facts.ok) throw notAnAgent("the client certificate is malformed");
  const { names, ca, publicKey } = facts.value;
  const all = [names.uris, names.dnsNames, names.ipAddresses, names.mailboxes, names.others].flat();
  const id = parseSpiffeId(names.uris[0] ?? "");
  if (ca || all.length !== 1 || !id.ok)
    throw notAnAgent("the client certificate must have one SPIFFE ID and no other name");
  const [kind, name = ""] = id.value.path;
  const cluster = parseClusterName(name);
  if (id.value.trustDomain !== fleet || id.value.path.length !== 2 || kind !== "agent" || !cluster.ok) {
    throw notAnAgent(`the client certificate does not name an agent of ${fleet}`);
  }
  return { cluster: cluster.value, spki: spkiPin(publicKey.spkiDer) };
}

function notAnAgent(message: string): ServiceError {
  return fleetError({
    status: status.UNAUTHENTICATED,
    code: "ISTHMUS_AGENT_CERTIFICATE",
    message,
    hint: "let the cluster join again: isthmus token create NAME --rejoin",
  });
}

const refusals: Record<MemberState, { readonly code: string; readonly why: string; readonly hint: string }> = {
  accepted: {
    code: "ISTHMUS_AGENT_KEY_REPLACED",
    why: "joined again with other keys",
    hint: "remove this agent, or let this cluster join again: isthmus token create NAME --rejoin",
  },
  pending: { code: "ISTHMUS_MEMBER_PENDING", why: "waits to be accepted", hint: "on the hub: isthmus accept NAME" },
  revoked: { code: "ISTHMUS_MEMBER_REVOKED", why: "was revoked", hint: "on the hub: isthmus revoke --undo NAME" },
  left: { code: "ISTHMUS_MEMBER_LEFT", why: "has left the fleet", hint: "on the hub: isthmus token create NAME" },
};

export function refusedMember(cluster: ClusterName, state: MemberState): ServiceError {
  const { code, why, hint } = refusals[state];
  return fleetError({
    status: status.PERMISSION_DENIED,
    code,
    message: `${cluster} ${why}`,
    hint: hint.replace("NAME", cluster),
  });
}

function notAMember({ cluster }: Caller, member: Member | undefined): ServiceError {
  if (member !== undefined) return refusedMember(cluster, member.state);
  return fleetError({
    status: status.PERMISSION_DENIED,
    code: "ISTHMUS_MEMBER_UNKNOWN",
    message: `${cluster} is not a member of this fleet`,
    hint: `on the hub: isthmus token create ${cluster}`,
  });
}
