// The name of a certificate between programs: what hub and agents call a root when they speak of it.
import { createHash } from "node:crypto";

/** SHA-256 over the DER, in hex. */
export function certificateFingerprint(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("hex");
}
