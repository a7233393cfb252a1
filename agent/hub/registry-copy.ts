// The last good registry as it is kept for a restart with the hub away: gzipped JSON with the digest of its content. Where
// it is kept is the platform's: ConfigMaps in agent/kube, a file in agent/site.
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import type { RemoteState } from "./remote-registry.ts";

export interface RegistryCopy {
  /** Undefined when there is none, or none that is whole. */
  load(): Promise<Uint8Array | undefined>;
  /** Skipped when the content is what was loaded or saved last. */
  save(content: Uint8Array): Promise<void>;
}

/** Against a bomb: 64 MiB of JSON is a hundred thousand services. */
const MAX_CONTENT_BYTES = 64 * 1024 * 1024;
const pack = promisify(gzip);
const unpack = promisify(gunzip);

export function packRegistry(content: Uint8Array): Promise<Buffer> {
  return pack(content);
}

/** Undefined for what is not gzip, cut short or too large: no copy is better than half a one. */
export async function unpackRegistry(packed: Uint8Array): Promise<Uint8Array | undefined> {
  try {
    return await unpack(packed, { maxOutputLength: MAX_CONTENT_BYTES });
  } catch {
    return undefined;
  }
}

/** Of the content, so that a mixture of two saves, or a part lost, is found. */
export function registryDigest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

export function registryContent(state: RemoteState): Uint8Array {
  return Buffer.from(JSON.stringify(state));
}

/** What an earlier process kept; undefined when it is not there or not readable (then the hub's list is waited for). */
export async function restoredRegistry(copy: RegistryCopy): Promise<RemoteState | undefined> {
  const content = await copy.load();
  if (content === undefined) return undefined;
  return JSON.parse(Buffer.from(content).toString("utf8")) as RemoteState;
}
