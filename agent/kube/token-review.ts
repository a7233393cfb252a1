// Who sent this service-account token? Asked of the API server (TokenReview) when a proxy opens its stream, and by nothing
// cheaper: only the API server knows whether the pod that the token is bound to still exists. Called by agent/ads.
import { createHash } from "node:crypto";
import type { Clock } from "../../shared/clock.ts";
import { err, ok, rejected, type Problem, type Result } from "../../shared/result.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, stringOf, type JsonObject } from "./json.ts";
import { apiVersionOf, tokenReviews } from "./resources.ts";

export interface ReviewedToken {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Empty for a token that is bound to no pod. */
  readonly podName: string;
  readonly podUid: string;
  /** End of the token's life: a stream that it opened ends no later. */
  readonly expiresAtMs: number;
}

/** Throws an ApiError when the API server cannot be asked: that is no verdict on the token. */
export type ReviewToken = (token: string) => Promise<Result<ReviewedToken>>;

export interface TokenReviewOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly audience?: string;
  /** A proxy's reconnects within this time cost one review; a revoked token is believed no longer than this. */
  readonly cacheMs?: number;
}

const AUDIENCE = "isthmus";
const CACHE_MS = 5000;
const MAX_CACHED = 10_000;
/** A projected token has about 1 KiB; a header may hold more, a key of the cache never does. */
const MAX_TOKEN_BYTES = 16 * 1024;
const code = "ISTHMUS_TOKEN_REFUSED";

export function createTokenReview(options: TokenReviewOptions): ReviewToken {
  const { clock, cacheMs = CACHE_MS } = options;
  const cache = new Map<string, { readonly answer: Promise<Result<ReviewedToken>>; readonly untilMs: number }>();
  return (token) => {
    if (token === "" || token.length > MAX_TOKEN_BYTES)
      return Promise.resolve(rejected(code, "not a service-account token"));
    const key = createHash("sha256").update(token).digest("base64");
    const known = cache.get(key);
    if (known !== undefined && clock.now() < known.untilMs) return known.answer;
    const answer = review(options, token);
    cache.delete(key); // so that the map stays in order of age
    cache.set(key, { answer, untilMs: clock.now() + cacheMs });
    answer.catch(() => cache.delete(key)); // the caller sees the failure; the next one asks again
    dropOld(cache, clock.now());
    return answer;
  };
}

function dropOld(cache: Map<string, { readonly untilMs: number }>, now: number): void {
  for (const [key, { untilMs }] of cache) {
    if (untilMs > now && cache.size <= MAX_CACHED) return;
    cache.delete(key);
  }
}

async function review(options: TokenReviewOptions, token: string): Promise<Result<ReviewedToken>> {
  const audience = options.audience ?? AUDIENCE;
  const { status } = await options.client.create(
    { resource: tokenReviews },
    { apiVersion: apiVersionOf(tokenReviews), kind: tokenReviews.kind, spec: { token, audiences: [audience] } },
  );
  const problem = refusal(status, audience);
  if (problem !== undefined) return err([problem]);
  const [system, kind, namespace = "", serviceAccount = ""] = stringOf(fieldOf(status, "user", "username")).split(":");
  if (system !== "system" || kind !== "serviceaccount" || namespace === "" || serviceAccount === "") {
    return rejected(code, "the token is not a service account's");
  }
  const extra = fieldOf(status, "user", "extra");
  return ok({
    namespace,
    serviceAccount,
    podName: firstOf(fieldOf(extra, "authentication.kubernetes.io/pod-name")),
    podUid: firstOf(fieldOf(extra, "authentication.kubernetes.io/pod-uid")),
    expiresAtMs: expiryOf(token),
  });
}

function refusal(status: unknown, audience: string): Problem | undefined {
  if (fieldOf(status, "authenticated") !== true) {
    return {
      code,
      message: `the API server refuses the token: ${stringOf(fieldOf(status, "error")) || "not authenticated"}`,
    };
  }
  // a server that knows no audiences answers without any: its yes would hold for every token
  const audiences = fieldOf(status, "audiences");
  const meant = Array.isArray(audiences) && audiences.includes(audience);
  return meant ? undefined : { code, message: `the token is not meant for the audience "${audience}"` };
}

/** `exp` of a JWT that the API server has just accepted; 0 (already over) when it has none. */
function expiryOf(token: string): number {
  try {
    const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8")) as JsonObject;
    const expiry = fieldOf(claims, "exp");
    return typeof expiry === "number" ? expiry * 1000 : 0;
  } catch {
    return 0; // a legacy token is no JWT of ours: no stream may live on it
  }
}

function firstOf(value: unknown): string {
  return Array.isArray(value) ? stringOf(value[0]) : "";
}
