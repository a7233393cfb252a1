// Join tokens in Redis. Only an HMAC of the secret is stored, keyed with a pepper that never enters Redis: who reads
// Redis can use no token, who writes to it can make none. Called by the operator API (create) and join.ts (redeem).
import type { Redis } from "ioredis";
import { createHmac, randomBytes } from "node:crypto";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import { joinTokenSecretBytes } from "../../shared/join-token.ts";
import { memberKey, type Member } from "../registry/member.ts";
import type { RedisKeys } from "./keys.ts";
import type { MembershipMemory, Redeemed } from "./membership-memory.ts";
import { streamLength } from "./redis-registry.ts";
import type { Scripts } from "./scripts.ts";

/** A join whose reply was lost may ask again for this long. */
const repeatWindowMs = 600_000;
/** An expired token is kept so that its holder reads "expired", not "unknown". */
const keepExpiredMs = 86_400_000;

export interface NewToken {
  readonly id: string;
  readonly secret: Uint8Array;
  readonly expiresAtMs: number;
}

export interface TokenRequest {
  readonly cluster: ClusterName;
  readonly ttlMs: number;
  /** Lets the token replace the keys of a cluster that is a member already (its Secrets were lost). */
  readonly rejoin: boolean;
  /** Double opt-in: who redeems it waits until an operator says `isthmus accept`. */
  readonly mustBeAccepted: boolean;
}

export type RedeemStatus =
  | "joined"
  | "repeated"
  | "unknown"
  | "expired"
  | "used"
  | "withdrawn"
  | "wrong-cluster"
  | "taken"
  | "restored"
  | "resting"
  | "revoked";

export interface RedeemRequest {
  readonly tokenId: string;
  readonly secret: Uint8Array;
  readonly agentSpki: string;
  readonly clusterCaSpki: string;
  /** A revoked cluster must not come back by a token of before. */
  readonly isRevoked: (cluster: ClusterName) => boolean;
  /** A name that was left, and is not to be had with this token yet. */
  readonly rests: (cluster: ClusterName) => boolean;
}

export type TokenState = "unused" | "redeemed" | "expired" | "withdrawn";

/** A token without its secret, as `isthmus token list` shows it. */
export interface TokenOverview {
  readonly id: string;
  readonly cluster: string;
  readonly state: TokenState;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly rejoin: boolean;
  readonly mustBeAccepted: boolean;
  /** Attempts by other keys or with a wrong secret: more than none means that somebody else had it. */
  readonly refused: number;
}

export interface RedeemAnswer {
  readonly status: RedeemStatus;
  /** Of the token; absent when there is no such token. */
  readonly cluster?: ClusterName;
}

export interface TokensDeps {
  readonly redis: Redis;
  readonly scripts: Scripts;
  readonly keys: RedisKeys;
  readonly pepper: Uint8Array;
  readonly memory: MembershipMemory;
}

/** What a token is good for: part of its HMAC, so that nobody who writes to Redis makes more of it. */
interface TokenTerms {
  readonly cluster: string;
  readonly expiresAtMs: string;
  readonly rejoin: string;
  readonly mustBeAccepted: string;
}

export type Tokens = ReturnType<typeof openTokens>;

interface Bearer {
  readonly id: string;
  readonly secret: Uint8Array;
}

function hmacOf(pepper: Uint8Array, { id, secret }: Bearer, terms: TokenTerms): string {
  const { cluster, expiresAtMs, rejoin, mustBeAccepted } = terms;
  const statement = JSON.stringify([id, cluster, expiresAtMs, rejoin, mustBeAccepted]);
  return createHmac("sha256", pepper).update(`${statement}\0`).update(secret).digest("hex");
}

export function openTokens(deps: TokensDeps) {
  const { redis, keys, pepper } = deps;
  return {
    async create({ cluster, ttlMs, rejoin, mustBeAccepted }: TokenRequest, nowMs: number): Promise<NewToken> {
      const id = randomBytes(8).toString("hex");
      const secret = randomBytes(joinTokenSecretBytes);
      const expiresAtMs = nowMs + ttlMs;
      const flags = { rejoin: rejoin ? "1" : "0", mustBeAccepted: mustBeAccepted ? "1" : "0" };
      const terms = { cluster, expiresAtMs: String(expiresAtMs), ...flags };
      const fields = { hmac: hmacOf(pepper, { id, secret }, terms), createdAtMs: nowMs, ...terms };
      const replies = await redis
        .multi()
        .hset(keys.token(id), fields)
        .pexpireat(keys.token(id), expiresAtMs + keepExpiredMs)
        .zadd(keys.tokens, expiresAtMs, id)
        .zremrangebyscore(keys.tokens, "-inf", nowMs - keepExpiredMs)
        .exec();
      const failed = replies?.find(([error]) => error !== null)?.[0];
      if (replies === null || failed != null) throw failed ?? new Error("redis refused the token transaction");
      return { id, secret, expiresAtMs };
    },

    /** Newest first; those that expired more than a day ago are gone. */
    async list(nowMs: number): Promise<readonly TokenOverview[]> {
      const ids = await redis.zrange(keys.tokens, "0", "-1");
      const found = await Promise.all(
        ids.map(async (id) => overviewOf(id, await redis.hgetall(keys.token(id)), nowMs)),
      );
      return found.filter((token) => token !== undefined).sort((a, b) => b.createdAtMs - a.createdAtMs);
    },

    /** Nobody can redeem it afterwards. False: there is no such token, or it was redeemed already. */
    async withdraw(id: string, nowMs: number): Promise<boolean> {
      const key = keys.token(id);
      const [known, redeemed] = await redis.hmget(key, "hmac", "agentSpki");
      if (known == null || redeemed != null) return false;
      await redis.hset(key, "withdrawnAtMs", String(nowMs));
      // a redemption may have come first, and then the token's cluster is a member
      return (await redis.hget(key, "agentSpki")) === null;
    },

    redeem: (request: RedeemRequest, nowMs: number): Promise<RedeemAnswer> => redeemToken(deps, request, nowMs),
  };
}

async function readTerms({ redis, keys }: TokensDeps, tokenId: string): Promise<TokenTerms> {
  const fields = ["cluster", "expiresAtMs", "rejoin", "mustBeAccepted"] as const;
  const values = await redis.hmget(keys.token(tokenId), ...fields);
  const [cluster, expiresAtMs, rejoin, mustBeAccepted] = values.map((value) => value ?? "");
  return {
    cluster: cluster ?? "",
    expiresAtMs: expiresAtMs ?? "",
    rejoin: rejoin ?? "",
    mustBeAccepted: mustBeAccepted ?? "",
  };
}

async function redeemToken(deps: TokensDeps, request: RedeemRequest, nowMs: number): Promise<RedeemAnswer> {
  const { scripts, keys, pepper, memory } = deps;
  const { tokenId, secret, agentSpki, clusterCaSpki, isRevoked, rests } = request;
  const terms = await readTerms(deps, tokenId);
  const named = parseClusterName(terms.cluster);
  if (!named.ok) return { status: "unknown" };
  const cluster = named.value;
  if (isRevoked(cluster)) return { status: "revoked", cluster };
  if (rests(cluster)) return { status: "resting", cluster };
  const member: Member = {
    cluster,
    state: terms.mustBeAccepted === "1" ? "pending" : "accepted",
    agentSpkis: [agentSpki],
    clusterCaSpki,
    joinedAtMs: nowMs,
    tokenId,
  };
  const text = memory.seal(member);
  const places = [keys.token(tokenId), keys.meta, keys.records, keys.stream, keys.boundSpkis];
  const hmac = hmacOf(pepper, { id: tokenId, secret }, terms);
  const head = [nowMs, hmac, cluster, agentSpki, clusterCaSpki, repeatWindowMs, memberKey(cluster), text, streamLength];
  const wasOthers = isOthers(memory.redeemed(tokenId), request) ? "1" : "0";
  const [status] = await scripts.call("redeem", places, [...head, terms.expiresAtMs, terms.rejoin, wasOthers]);
  if (status === "joined") {
    memory.open(memberKey(cluster), text);
    memory.rememberRedeemed(tokenId, { agentSpki, clusterCaSpki, expiresAtMs: Number(terms.expiresAtMs) }, nowMs);
    await memory.saved();
  }
  return { status: String(status) as RedeemStatus, cluster };
}

/** Redis may have been made to forget that somebody was first. */
function isOthers(first: Redeemed | undefined, { agentSpki, clusterCaSpki }: RedeemRequest): boolean {
  return first !== undefined && (first.agentSpki !== agentSpki || first.clusterCaSpki !== clusterCaSpki);
}

function overviewOf(id: string, fields: Readonly<Record<string, string>>, nowMs: number): TokenOverview | undefined {
  if (fields["cluster"] === undefined) return undefined;
  const expiresAtMs = Number(fields["expiresAtMs"]);
  return {
    id,
    cluster: fields["cluster"],
    state: stateOf(fields, nowMs >= expiresAtMs),
    createdAtMs: Number(fields["createdAtMs"]),
    expiresAtMs,
    rejoin: fields["rejoin"] === "1",
    mustBeAccepted: fields["mustBeAccepted"] === "1",
    refused: Number(fields["refused"] ?? 0),
  };
}

function stateOf(fields: Readonly<Record<string, string>>, expired: boolean): TokenState {
  if (fields["agentSpki"] !== undefined) return "redeemed";
  if (fields["withdrawnAtMs"] !== undefined) return "withdrawn";
  return expired ? "expired" : "unused";
}
