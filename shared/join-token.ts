// The text of a join token: `isthmus1.<base64url of JSON>`. Made by the hub, read by the CLI and the agent.
// It holds a secret: callers pass it on whole and never log it or any part but the id.
import { parseClusterName, type ClusterName } from "./ids.ts";
import { ok, rejected, type Result } from "./result.ts";

export interface JoinToken {
  /** Public name of the token: safe to log. */
  readonly id: string;
  readonly secret: Uint8Array;
  readonly cluster: ClusterName;
  /** `host:port` of the hub's gRPC listener as members reach it. */
  readonly hub: string;
  /** `sha256/<base64url>` of the hub's SPKI: checked before the secret is sent. */
  readonly pin: string;
  readonly expiresAtMs: number;
}

const prefix = "isthmus1.";
const maxLength = 2048;
export const joinTokenSecretBytes = 32;
const tokenId = /^[a-z0-9]{8,32}$/;
const hubAddress = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):(\d{1,5})$/;
const pinText = /^sha256\/[A-Za-z0-9_-]{43}$/;

export function formatJoinToken(token: JoinToken): string {
  const { id, cluster, hub, pin, expiresAtMs } = token;
  const secret = Buffer.from(token.secret).toString("base64url");
  const body = { v: 1, id, secret, cluster, hub, pin, exp: expiresAtMs };
  return prefix + Buffer.from(JSON.stringify(body)).toString("base64url");
}

/** Whether it is still valid is asked elsewhere: that needs a clock. */
export function parseJoinToken(text: string): Result<JoinToken> {
  const trimmed = text.trim();
  if (!trimmed.startsWith(prefix) || trimmed.length > maxLength) {
    return malformed(`a join token is one line that starts with ${prefix}`);
  }
  const body = parseBody(trimmed.slice(prefix.length));
  if (body === undefined) return malformed("its body is cut off or changed; copy the whole line again");
  const { id, secret, cluster, hub, pin, exp } = body;
  if (!isText(id, tokenId) || !isText(pin, pinText) || !isText(hub, hubAddress) || typeof secret !== "string") {
    return malformed("a field is missing or malformed");
  }
  const secretBytes = Buffer.from(secret, "base64url");
  if (secretBytes.length !== joinTokenSecretBytes) return malformed("a field is missing or malformed");
  const name = parseClusterName(typeof cluster === "string" ? cluster : "");
  if (!name.ok) return name;
  const expiresAtMs = typeof exp === "number" ? exp : Number.MAX_SAFE_INTEGER;
  return ok({ id, secret: secretBytes, cluster: name.value, hub, pin, expiresAtMs });
}

/** Says what is wrong, never what it read: the text may hold the secret. */
function malformed(reason: string): ReturnType<typeof rejected> {
  return rejected("ISTHMUS_TOKEN_MALFORMED", `not a join token: ${reason}`);
}

function isText(value: unknown, pattern: RegExp): value is string {
  return typeof value === "string" && pattern.test(value);
}

function parseBody(encoded: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const body: unknown = JSON.parse(Buffer.from(encoded, "base64url").toString("utf8"));
    return typeof body === "object" && body !== null ? (body as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
