// A trust bundle as SPIFFE defines it (SPIFFE Trust Domain and Bundle, section 4): a JWK set whose keys carry X.509 roots, with a
// sequence number and a hint when to look again. Both ways; what is read is of another fleet and checked whole.
import { createPublicKey, X509Certificate } from "node:crypto";
import { ok, rejected, type Result } from "../../shared/result.ts";

/** Section 4.1.3: how often a consumer should ask. */
const defaultHintS = 300;
const maxRoots = 32;
const maxText = 1024 * 1024;

export interface SpiffeBundle {
  readonly sequence: number;
  readonly refreshHintS: number;
  readonly rootsDer: readonly Uint8Array[];
}

export function formatSpiffeBundle(sequence: number, rootsDer: readonly Uint8Array[], hintS: number): string {
  const keys = rootsDer.map((der) => {
    const jwk = new X509Certificate(der).publicKey.export({ format: "jwk" });
    // 4.2.2: the certificate is in x5c, alone; no kid
    return { ...jwk, use: "x509-svid", x5c: [Buffer.from(der).toString("base64")] };
  });
  return `${JSON.stringify({ keys, spiffe_sequence: sequence, spiffe_refresh_hint: hintS }, null, 2)}\n`;
}

export function parseSpiffeBundle(text: string): Result<SpiffeBundle> {
  const refuse = (why: string) => rejected("ISTHMUS_FOREIGN_BUNDLE", `not a SPIFFE bundle: ${why}`);
  if (text.length > maxText) return refuse(`it is larger than ${maxText} characters`);
  const document = parseJson(text);
  const { keys, spiffe_sequence: sequence = 0, spiffe_refresh_hint: hint = defaultHintS } = document ?? {};
  if (!Array.isArray(keys)) return refuse("it has no list of keys");
  if (!isCount(sequence) || !isCount(hint)) return refuse("sequence or refresh hint is no whole number");
  const ours = (keys as readonly unknown[]).filter(isX509Key); // JWT keys and those of later versions are not for us (4.2.1)
  if (ours.length === 0 || ours.length > maxRoots) return refuse(`it holds ${ours.length} X.509 roots`);
  const roots = ours.map(rootOf);
  if (!roots.every((root) => root !== undefined))
    return refuse("a root is no certificate of an authority, or not the key's");
  return ok({ sequence, refreshHintS: hint, rootsDer: roots });
}

interface X509Key {
  readonly x5c: readonly [string];
}

function parseJson(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isX509Key(key: unknown): key is X509Key {
  const { use, x5c } = (key ?? {}) as { use?: unknown; x5c?: unknown };
  return use === "x509-svid" && Array.isArray(x5c) && x5c.length === 1 && typeof x5c[0] === "string";
}

/** The certificate, if it is an authority's and the key beside it is its own: two readings of one key would be two trusts. */
function rootOf({ x5c: [text], ...jwk }: X509Key): Uint8Array | undefined {
  try {
    const certificate = new X509Certificate(Buffer.from(text, "base64"));
    const beside = createPublicKey({ key: jwk, format: "jwk" });
    return certificate.ca && certificate.publicKey.equals(beside) ? new Uint8Array(certificate.raw) : undefined;
  } catch {
    return undefined;
  }
}
