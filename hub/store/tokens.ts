// Join tokens in Redis. Only an HMAC of the secret is stored, keyed with a pepper that never enters Redis: who reads
// Redis can use no token, who writes to it can make none. Called by the operator API (create) and join.ts (redeem).
import type { Redis } from "ioredis";
import { createHmac, randomBytes } from "node:crypto";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import { joinTokenSecretBytes } from "../../shared/join-token.ts";
import { encodeMember, memberKey, type Member } from "../registry/member.ts";
import type { RedisKeys } from "./keys.ts";
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
  | "revoked";

export interface RedeemRequest {
  readonly tokenId: string;
  readonly secret: Uint8Array;
  readonly agentSpki: string;
  readonly clusterCaSpki: string;
  /** A revoked cluster must not come back by a token of before. */
  readonly isRevoked: (cluster: ClusterName) => boolean;
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
}

export type Tokens = ReturnType<typeof openTokens>;

export function openTokens({ redis, scripts, keys, pepper }: TokensDeps) {
  const hmacOf = (id: string, secret: Uint8Array) =>
    createHmac("sha256", pepper).update(`${id}\0`).update(secret).digest("hex");

  return {
    async create({ cluster, ttlMs, rejoin, mustBeAccepted }: TokenRequest, nowMs: number): Promise<NewToken> {
      const id = randomBytes(8).toString("hex");
      const secret = randomBytes(joinTokenSecretBytes);
      const expiresAtMs = nowMs + ttlMs;
      const flags = { rejoin: rejoin ? "1" : "0", mustBeAccepted: mustBeAccepted ? "1" : "0" };
      const fields = { hmac: hmacOf(id, secret), cluster, expiresAtMs, createdAtMs: nowMs, ...flags };
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

    async redeem(request: RedeemRequest, nowMs: number): Promise<RedeemAnswer> {
      const { tokenId, secret, agentSpki, clusterCaSpki, isRevoked } = request;
      const [name, mustBeAccepted] = await redis.hmget(keys.token(tokenId), "cluster", "mustBeAccepted");
      const named = parseClusterName(name ?? "");
      if (!named.ok) return { status: "unknown" };
      const cluster = named.value;
      if (isRevoked(cluster)) return { status: "revoked", cluster };
      const member: Member = {
        cluster,
        state: mustBeAccepted === "1" ? "pending" : "accepted",
        agentSpkis: [agentSpki],
        clusterCaSpki,
        joinedAtMs: nowMs,
        tokenId,
      };
      const places = [keys.token(tokenId), keys.meta, keys.records, keys.stream, keys.boundSpkis];
      const head = [nowMs, hmacOf(tokenId, secret), cluster, agentSpki, clusterCaSpki, repeatWindowMs];
      const args = [...head, memberKey(cluster), encodeMember(member), streamLength];
      const [status] = await scripts.call("redeem", places, args);
      return { status: String(status) as RedeemStatus, cluster };
    },
  };
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
