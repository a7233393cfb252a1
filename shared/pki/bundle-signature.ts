// Verifies that a trust bundle was signed by the key it names. Called by agents; whether that key is one they know, and
// whether the bundle is newer, is bundle.ts's part.
import { createPublicKey, verify } from "node:crypto";
import { bundleStatement, type TrustBundle } from "./bundle.ts";

export function isBundleSigned(bundle: TrustBundle): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(bundle.signerSpkiDer), format: "der", type: "spki" });
    return verify("sha256", Buffer.from(bundleStatement(bundle)), key, bundle.signature);
  } catch {
    return false; // an unreadable key or signature signs nothing
  }
}
