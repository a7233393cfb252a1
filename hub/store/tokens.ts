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
}

export type RedeemStatus =
  "joined" | "repeated" | "unknown" | "expired" | "used" | "wrong-cluster" | "taken" | "restored";

export interface RedeemRequest {
  readonly tokenId: string;
  readonly secret: Uint8Array;
  readonly agentSpki: string;
  readonly clusterCaSpki: string;
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
    async create({ cluster, ttlMs, rejoin }: TokenRequest, nowMs: number): Promise<NewToken> {
      const id = randomBytes(8).toString("hex");
      const secret = randomBytes(joinTokenSecretBytes);
      const expiresAtMs = nowMs + ttlMs;
      const fields = { hmac: hmacOf(id, secret), cluster, expiresAtMs, rejoin: rejoin ? "1" : "0", createdAtMs: nowMs };
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

    async redeem(request: RedeemRequest, nowMs: number): Promise<RedeemAnswer> {
      const { tokenId, secret, agentSpki, clusterCaSpki } = request;
      const named = parseClusterName((await redis.hget(keys.token(tokenId), "cluster")) ?? "");
      if (!named.ok) return { status: "unknown" };
      const cluster = named.value;
      const member: Member = {
        cluster,
        state: "accepted",
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
