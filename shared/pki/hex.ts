// Bytes as lower-case hex, for the pure PKI files that may not use node:buffer.

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
