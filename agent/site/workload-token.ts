// The bearer token of a workload's sidecar: who it is and until when, sealed with a key that never leaves this machine. No
// list of tokens is kept; whether the workload still exists is asked at every use.
import { createHmac, timingSafeEqual } from "node:crypto";
import { ok, rejected, type Result } from "../../shared/result.ts";

export interface TokenClaims {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly name: string;
  readonly expiresAtMs: number;
}

export const TOKEN_TTL_MS = 24 * 3_600_000;
const PREFIX = "isw1";
const MAX_TOKEN_LENGTH = 4096;
const refused = "ISTHMUS_TOKEN_REFUSED";

export function issueToken(key: Uint8Array, { namespace, serviceAccount, name, expiresAtMs }: TokenClaims): string {
  const claims = JSON.stringify({ ns: namespace, sa: serviceAccount, name, exp: Math.floor(expiresAtMs / 1000) });
  const body = Buffer.from(claims).toString("base64url");
  return `${PREFIX}.${body}.${seal(key, body)}`;
}

export function verifyToken(key: Uint8Array, token: string, nowMs: number): Result<TokenClaims> {
  const [prefix, body = "", mark = "", ...rest] = token.split(".");
  if (token.length > MAX_TOKEN_LENGTH || prefix !== PREFIX || rest.length > 0 || !isSealed(key, body, mark)) {
    return rejected(refused, "not a token of this site");
  }
  const { ns, sa, name, exp } = JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as SealedClaims;
  const expiresAtMs = exp * 1000;
  if (expiresAtMs <= nowMs) {
    return rejected(
      refused,
      "the token is over: the credential folder was copied and not renewed, or a clock is wrong",
    );
  }
  return ok({ namespace: ns, serviceAccount: sa, name, expiresAtMs });
}

interface SealedClaims {
  readonly ns: string;
  readonly sa: string;
  readonly name: string;
  /** Seconds since 1970. */
  readonly exp: number;
}

function seal(key: Uint8Array, body: string): string {
  return createHmac("sha256", key).update(`${PREFIX}.${body}`).digest("base64url");
}

function isSealed(key: Uint8Array, body: string, mark: string): boolean {
  const [expected, given] = [Buffer.from(seal(key, body)), Buffer.from(mark)];
  return expected.length === given.length && timingSafeEqual(expected, given);
}
