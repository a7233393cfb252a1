// Joining a fleet with a token: keys are made and kept first, the hub's key is compared with the pin, then the secret is sent.
// Called at an agent's first start. Every failure that a person can mend is a UserError with a stable code; a lost reply is
// repaired by asking again with the same keys, also by the next process.
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { JoinReply } from "../../shared/grpc/fleet-messages.ts";
import { createFleetClient } from "../../shared/grpc/fleet-service.ts";
import { readFleetError, type FleetProblem } from "../../shared/grpc/fleet-status.ts";
import { parseFleetDomain } from "../../shared/ids.ts";
import { parseJoinToken, type JoinToken } from "../../shared/join-token.ts";
import type { Log } from "../../shared/log.ts";
import { isBundleSigned } from "../../shared/pki/bundle-signature.ts";
import { checkTimes } from "../../shared/pki/chain.ts";
import { generateKeyPem } from "../../shared/pki/key.ts";
import { chainPem } from "../../shared/pki/pem.ts";
import { buildRequest } from "../../shared/pki/x509-builder.ts";
import { err, ok, rejected, type Result } from "../../shared/result.ts";
import { openIdentity } from "../identity/agent-credential.ts";
import {
  heldIdentity,
  type IdentityState,
  type IdentityStore,
  type JoinedIdentity,
  type JoiningIdentity,
} from "../identity/identity-state.ts";
import { hubServerName, hubUnreachable, pinnedCredentials, probeHub } from "./hub-tls.ts";

const attemptTimeoutMs = 10_000;
const retry = { baseMs: 250, maxMs: 5_000 };
const acceptPollMs = 2_000;
/** Of a member that could go on as it is: a hub that is away must not hold its start up. */
const heldPatienceMs = 5_000;
/** What passes by itself; all else is for a person. */
const transientCodes: ReadonlySet<string> = new Set([
  "ISTHMUS_HUB_UNREACHABLE",
  "ISTHMUS_REGISTRY_UNAVAILABLE",
  "ISTHMUS_HUB_DRAINING",
]);

export interface JoinDeps {
  readonly store: IdentityStore;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly agentVersion: string;
  readonly signal: AbortSignal;
  /** A hub that does not answer is asked again for this long. */
  readonly patienceMs?: number;
}

/** Another token than the member came by is somebody's word to join anew, whatever is kept. */
export function isNewToken(tokenText: string | undefined, held: JoinedIdentity): boolean {
  const token = parseJoinToken(tokenText ?? "");
  return token.ok && held.tokenId !== undefined && held.tokenId !== token.value.id;
}

/**
 * `tokenText` as `isthmus token create` printed it. Already joined, and by no other token: nothing is asked, the kept identity is
 * returned. What is kept is given up only for one that is whole: a token that does not let in strands no member.
 */
export async function joinFleet(tokenText: string | undefined, deps: JoinDeps): Promise<JoinedIdentity> {
  const kept = await deps.store.load();
  const held = heldIdentity(kept);
  if (held === undefined) return joinAnew(tokenText ?? "", kept, deps);
  if (!isNewToken(tokenText, held)) {
    if (kept !== held) await deps.store.save(held);
    return held;
  }
  try {
    const patienceMs = Math.min(deps.patienceMs ?? Infinity, heldPatienceMs);
    return await joinAnew(tokenText ?? "", kept, { ...deps, patienceMs });
  } catch (error) {
    if (!(error instanceof UserError) || error.code === "ISTHMUS_IDENTITY_CONFLICT") throw error;
    deps.log.error("the new join token does not let this member in; it stays who it was", {}, error);
    await deps.store.save(held);
    return held;
  }
}

async function joinAnew(tokenText: string, kept: IdentityState | undefined, deps: JoinDeps): Promise<JoinedIdentity> {
  const token = parseJoinToken(tokenText);
  if (!token.ok) {
    const [problem] = token.error;
    throw new UserError(problem?.code ?? "ISTHMUS_TOKEN_MALFORMED", problem?.message ?? "not a join token", {
      hint: "copy the whole line that `isthmus token create` printed, or make a new token",
    });
  }
  const keys = await keysFor(token.value, kept, deps.store);
  const reply = await redeem(token.value, keys, deps);
  const joined = readReply(reply, { token: token.value, keys, nowMs: deps.clock.now() });
  if (!joined.ok) {
    const reasons = joined.error.map(({ code, message }) => `${code}: ${message}`).join("; ");
    throw new UserError("ISTHMUS_JOIN_REPLY", `the hub's answer is refused: ${reasons}`, {
      hint: "compare the clocks of hub and cluster and the versions of hub and agent",
    });
  }
  await deps.store.save(joined.value);
  const { cluster, fleetDomain } = joined.value;
  deps.log.info("joined the fleet", { cluster, fleetDomain, tokenId: token.value.id });
  return joined.value;
}

async function keysFor(
  token: JoinToken,
  kept: IdentityState | undefined,
  store: IdentityStore,
): Promise<JoiningIdentity> {
  if (kept?.stage === "joining" && kept.tokenId === token.id) return kept;
  const former = heldIdentity(kept);
  const agentKeyPem = generateKeyPem();
  const keys: JoiningIdentity = {
    ...{ stage: "joining", tokenId: token.id, agentKeyPem, clusterCaKeyPem: generateKeyPem() },
    ...(former === undefined ? {} : { former }),
  };
  await store.save(keys);
  return keys;
}

async function redeem(token: JoinToken, keys: JoiningIdentity, deps: JoinDeps): Promise<JoinReply> {
  const { clock, log, signal, random } = deps;
  const deadlineMs = clock.now() + (deps.patienceMs ?? 60_000);
  for (let attempt = 0; ; attempt += 1) {
    try {
      const reply = await joinOnce(token, keys, deps.agentVersion);
      if (reply.accepted) return reply;
      log.info("waiting to be accepted; on the hub: isthmus accept", { cluster: token.cluster });
      await clock.sleep(acceptPollMs, signal);
    } catch (error) {
      signal.throwIfAborted();
      const problem = toUserError(error, token);
      if (!transientCodes.has(problem.code) || clock.now() >= deadlineMs) throw problem;
      log.warn("the hub cannot answer; trying again", { hub: token.hub, code: problem.code, cause: problem.message });
      await clock.sleep(backoffDelayMs(attempt, retry, random()), signal);
    }
  }
}

async function joinOnce(token: JoinToken, keys: JoiningIdentity, agentVersion: string): Promise<JoinReply> {
  const probed = await probeHub(token.hub, token.pin, attemptTimeoutMs);
  const client = createFleetClient(token.hub, pinnedCredentials(probed, token.pin), {
    "grpc.ssl_target_name_override": hubServerName,
    "grpc.enable_retries": 0,
  });
  try {
    const request = {
      tokenId: token.id,
      tokenSecret: token.secret,
      agentCsrDer: await buildRequest(keys.agentKeyPem),
      clusterCaCsrDer: await buildRequest(keys.clusterCaKeyPem),
      agentVersion,
    };
    return await client.join(request, { deadline: Date.now() + attemptTimeoutMs });
  } finally {
    client.close();
  }
}

/** What the hub said keeps its code; silence, a broken connection and an expired deadline are one thing: unreachable. */
function toUserError(error: unknown, token: JoinToken): UserError {
  if (error instanceof UserError) return error;
  const problem: FleetProblem = readFleetError(error);
  if (problem.code === "ISTHMUS_HUB_UNREACHABLE") return hubUnreachable(token.hub, error);
  const details = problem.hint === undefined ? { cause: error } : { cause: error, hint: problem.hint };
  return new UserError(problem.code, problem.message, details);
}

interface ReplyContext {
  readonly token: JoinToken;
  readonly keys: JoiningIdentity;
  readonly nowMs: number;
}

/** The connection was pinned, yet everything is checked: a wrong answer kept would be found out only at the next start. */
function readReply(reply: JoinReply, { token, keys, nowMs }: ReplyContext): Result<JoinedIdentity> {
  const { bundle, cluster } = reply;
  const fleet = parseFleetDomain(reply.fleetDomain);
  if (!fleet.ok) return fleet;
  if (cluster !== token.cluster) return rejected("ISTHMUS_TOKEN_WRONG_CLUSTER", `it names cluster ${cluster}`);
  if (bundle === null || bundle.fleetDomain !== fleet.value || !isBundleSigned(bundle)) {
    return rejected("ISTHMUS_BUNDLE_REFUSED", "it holds no signed trust bundle of its fleet", "bundle");
  }
  const opened = openIdentity({
    stage: "joined",
    cluster: token.cluster,
    fleetDomain: fleet.value,
    hub: token.hub,
    agentKeyPem: keys.agentKeyPem,
    clusterCaKeyPem: keys.clusterCaKeyPem,
    agentChainPem: chainPem(reply.agentChainDer),
    clusterCaChainPem: chainPem(reply.clusterCaChainDer),
    bundle,
    knownSigners: [bundle.signerSpkiDer],
    tokenId: token.id,
  });
  if (!opened.ok) return opened;
  const usable = checkTimes(opened.value.agentValidity, nowMs);
  return usable.ok ? ok(opened.value.state) : err(usable.error);
}
