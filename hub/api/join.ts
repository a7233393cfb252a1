// Join and Renew: who may have a certificate is settled here, what is in it in hub/ca. A key is bound to its cluster before
// anything is signed, so a lost reply is repaired by asking again with the same key, and by no other key.
import { status, type ServerUnaryCall, type ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../../shared/clock.ts";
import type { JoinReply, JoinRequest, RenewReply, RenewRequest } from "../../shared/grpc/fleet-messages.ts";
import { fleetError } from "../../shared/grpc/fleet-status.ts";
import type { ClusterName } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import type { Result } from "../../shared/result.ts";
import type { AuditLog } from "../audit/log.ts";
import type { Authority } from "../ca/authority.ts";
import { renewedSpkis, type Member } from "../registry/member.ts";
import type { Departures } from "../store/departures.ts";
import type { Members } from "../store/members.ts";
import type { RedeemAnswer, RedeemStatus, Tokens } from "../store/tokens.ts";
import { refusedInput } from "./call.ts";
import { refusedMember, type Authenticate } from "./caller.ts";
import type { HubMetrics } from "./metrics.ts";
import { restsUntilMs } from "./resting-name.ts";

export interface JoinDeps {
  readonly authority: Authority;
  readonly tokens: Tokens;
  readonly members: Members;
  readonly departures: Departures;
  /** The bundle is another: whoever watches must hear of it now. */
  readonly bundleChanged: () => void;
  readonly authenticate: Authenticate;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: HubMetrics;
}

export async function join(deps: JoinDeps, request: JoinRequest): Promise<JoinReply> {
  const { authority, tokens, audit, clock, log, metrics } = deps;
  const agentSpki = await spkiOf(authority, request.agentCsrDer);
  const clusterCaSpki = await spkiOf(authority, request.clusterCaCsrDer);
  if (agentSpki === clusterCaSpki) throw oneKeyForTwo();
  const { tokenId, tokenSecret } = request;
  const { departures } = deps;
  const isRevoked = (name: ClusterName) => authority.isRevoked(name) && !departures.has(name);
  const rests = (name: ClusterName) => restsUntilMs(deps, name) !== undefined && !departures.isOpenTo(name, tokenId);
  const order = { tokenId, secret: tokenSecret, agentSpki, clusterCaSpki, isRevoked, rests };
  const redeemed = await tokens.redeem(order, clock.now());
  metrics.joins.inc({ result: redeemed.status });
  const { cluster } = redeemed;
  const refusal = refusals[redeemed.status];
  if (cluster === undefined || refusal !== undefined) {
    log.warn("a join was refused", { result: redeemed.status, tokenId: tokenId.slice(0, 32), agentSpki });
    await auditRefusal(deps, redeemed, tokenId, agentSpki);
    throw tokenRefused(refusal ?? unknownToken, cluster ?? "NAME");
  }
  const { fleetDomain } = authority;
  const standing = await standingOf(deps, cluster);
  if (redeemed.status === "joined") {
    await audit.record({
      action: "member.join",
      actor: `cluster:${cluster}`,
      subject: cluster,
      detail: { tokenId, agentSpki, clusterCaSpki, state: standing },
    });
  }
  if (standing === "pending") {
    const bundle = authority.bundle();
    return { cluster, fleetDomain, agentChainDer: [], clusterCaChainDer: [], bundle, accepted: false };
  }
  await takeBack(deps, cluster);
  const bundle = authority.bundle();
  const agentChainDer = await signed(authority.issueAgent(cluster, request.agentCsrDer));
  const clusterCaChainDer = await signed(authority.issueClusterCa(cluster, request.clusterCaCsrDer));
  log.info("a cluster joined", { cluster, result: redeemed.status, agentVersion: request.agentVersion.slice(0, 64) });
  return { cluster, fleetDomain, agentChainDer, clusterCaChainDer, bundle, accepted: true };
}

/** A member that left comes back by a token: its trust domain is no longer denied. */
async function takeBack({ authority, departures, bundleChanged }: JoinDeps, cluster: ClusterName): Promise<void> {
  if (!departures.has(cluster)) return;
  if (await authority.setRevoked(cluster, false)) bundleChanged();
  await departures.set(cluster, false);
}

/** A token that is good for its keys is good for nothing when an operator has said no since. */
async function standingOf({ members }: JoinDeps, cluster: ClusterName): Promise<"accepted" | "pending"> {
  const state = (await members.stored(cluster))?.member.state;
  if (state === "accepted" || state === "pending") return state;
  throw refusedMember(cluster, state ?? "left");
}

/** Only for who held the secret: others could fill the disk. */
async function auditRefusal(
  { audit }: JoinDeps,
  { status: result, cluster }: RedeemAnswer,
  tokenId: string,
  agentSpki: string,
): Promise<void> {
  if (cluster === undefined || result !== "used") return;
  await audit.record({ action: "token.replayed", actor: "unknown", subject: tokenId, detail: { cluster, agentSpki } });
}

export async function renew(deps: JoinDeps, call: ServerUnaryCall<RenewRequest, RenewReply>): Promise<RenewReply> {
  const { authority, authenticate, audit, log } = deps;
  const { agentCsrDer, clusterCaCsrDer } = call.request;
  const { cluster, spki } = await authenticate(call);
  const newAgentSpki = await spkiOf(authority, agentCsrDer);
  const newClusterCaSpki = clusterCaCsrDer.length === 0 ? undefined : await spkiOf(authority, clusterCaCsrDer);
  await bindRenewed(deps, cluster, (member) => {
    const agentSpkis = renewedSpkis(spki, newAgentSpki);
    const clusterCaSpki = newClusterCaSpki ?? member.clusterCaSpki;
    // neither key may become the other's, now or in the renewal after: whoever holds one of them would be both
    const before = [...member.agentSpkis, ...agentSpkis];
    if (before.includes(clusterCaSpki) || newAgentSpki === member.clusterCaSpki) throw oneKeyForTwo();
    return { ...member, agentSpkis, clusterCaSpki };
  });
  const agentChainDer = await signed(authority.issueAgent(cluster, agentCsrDer));
  const clusterCaChainDer =
    newClusterCaSpki === undefined ? [] : await signed(authority.issueClusterCa(cluster, clusterCaCsrDer));
  const issued = { agentSpki: newAgentSpki, clusterCaSpki: newClusterCaSpki ?? "" };
  await audit.record({ action: "member.renew", actor: `cluster:${cluster}`, subject: cluster, detail: issued });
  log.info("certificates were renewed", { cluster, clusterCa: newClusterCaSpki !== undefined });
  return { agentChainDer, clusterCaChainDer, bundle: authority.bundle() };
}

/** Compare-and-set on the member: two replicas of an agent, or an operator, may change it at the same time. */
async function bindRenewed(
  { members }: JoinDeps,
  cluster: ClusterName,
  change: (member: Member) => Member,
): Promise<void> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const before = await members.stored(cluster);
    if (before === undefined) break;
    const after = change(before.member);
    const bound = await members.rebind(before, after, [...after.agentSpkis, after.clusterCaSpki]);
    if (bound === "written") return;
    if (bound === "wrong-cluster") throw tokenRefused(refusals["wrong-cluster"] ?? unknownToken, cluster);
  }
  throw fleetError({
    status: status.ABORTED,
    code: "ISTHMUS_MEMBER_CHANGED",
    message: `the membership of ${cluster} changes at this moment; try again`,
  });
}

function oneKeyForTwo(): ServiceError {
  return refusedInput([{ code: "ISTHMUS_CSR_KEY", message: "agent and cluster CA must have different keys" }]);
}

async function spkiOf(authority: Authority, csrDer: Uint8Array): Promise<string> {
  const request = await authority.readRequest(csrDer);
  if (!request.ok) throw refusedInput(request.error);
  return request.value.spkiPin;
}

async function signed(issued: Promise<Result<readonly Uint8Array[]>>): Promise<readonly Uint8Array[]> {
  const chain = await issued;
  if (!chain.ok) throw refusedInput(chain.error);
  return chain.value;
}

interface Refusal {
  readonly status: status;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

const newToken = "make a new one on the hub: isthmus token create NAME";

/** One text for an unknown token and a wrong secret: who has no secret learns nothing. */
const unknownToken: Refusal = {
  status: status.UNAUTHENTICATED,
  code: "ISTHMUS_TOKEN_UNKNOWN",
  message: "the hub does not know this token; it was mistyped, made by another hub, or is long expired",
  hint: newToken,
};

const refusals: Partial<Record<RedeemStatus, Refusal>> = {
  unknown: unknownToken,
  expired: {
    status: status.UNAUTHENTICATED,
    code: "ISTHMUS_TOKEN_EXPIRED",
    message: "the token has expired",
    hint: newToken,
  },
  used: {
    status: status.PERMISSION_DENIED,
    code: "ISTHMUS_TOKEN_USED",
    message: "the token was redeemed already by other keys; if that was not you, somebody else has the token",
    hint: "isthmus clusters shows who joined; then make a new token: isthmus token create NAME",
  },
  withdrawn: {
    status: status.PERMISSION_DENIED,
    code: "ISTHMUS_TOKEN_WITHDRAWN",
    message: "an operator has withdrawn the token",
    hint: newToken,
  },
  revoked: {
    status: status.PERMISSION_DENIED,
    code: "ISTHMUS_MEMBER_REVOKED",
    message: "NAME was revoked",
    hint: "on the hub: isthmus revoke --undo NAME",
  },
  resting: {
    status: status.FAILED_PRECONDITION,
    code: "ISTHMUS_NAME_RESTS",
    message: "NAME has left, and certificates of its former life are not over yet",
    hint: "on the hub: isthmus token create NAME says until when, and what else can be done",
  },
  "wrong-cluster": {
    status: status.PERMISSION_DENIED,
    code: "ISTHMUS_TOKEN_WRONG_CLUSTER",
    message: "the key belongs to another cluster of the fleet; this cluster joined under another name",
    hint: "remove the agent and its Secrets first, or use a token of the cluster's own name",
  },
  taken: {
    status: status.ALREADY_EXISTS,
    code: "ISTHMUS_CLUSTER_TAKEN",
    message: "another cluster is a member under the name NAME",
    hint: "choose another name; or, if it is this cluster whose Secrets were lost: isthmus token create NAME --rejoin",
  },
  restored: {
    status: status.FAILED_PRECONDITION,
    code: "ISTHMUS_REGISTRY_RESTORED",
    message: "the hub's Redis holds older data than the hub has seen, so no token is redeemed",
    hint: "look at the hub's log, then confirm on the hub: isthmus confirm-restore",
  },
};

function tokenRefused({ status: at, code, message, hint }: Refusal, name: string): ServiceError {
  return fleetError({ status: at, code, message: message.replace("NAME", name), hint: hint.replace("NAME", name) });
}
