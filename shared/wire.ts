// Envoy's messages between proto3 JSON and protobuf bytes. Translators write JSON (as Envoy's documentation spells it), streams
// send the bytes, versions are hashes of them: equal content has equal bytes and an equal version on every replica.
// Unknown fields, types and enum values are thrown with their path; nothing is dropped in silence.
import { hash } from "node:crypto";
import { assignmentType, encodeAssignment, isPlainAssignment } from "./wire/assignment.ts";
import { readMessage } from "./wire/decode.ts";
import { newWriter, writeMessage } from "./wire/encode.ts";
import { isMessage, messageNameOf, WireError, type JsonMessage } from "./wire/json.ts";
import { messagePlan } from "./wire/schema.ts";

/** `typeUrl` with or without the `type.googleapis.com/` prefix. Throws WireError on anything Envoy's protos do not declare. */
export function encodeJson(typeUrl: string, value: JsonMessage): Uint8Array {
  const writer = newWriter();
  writeMessage(writer, messagePlan(messageNameOf(typeUrl)), value);
  return ofItsOwn(writer.finish());
}

/**
 * A copy in memory of its own. The writer's buffers are cut from slabs of 64 KiB that whatever is written meanwhile shares: a resource that
 * is kept would keep a slab, which cost an agent more than all resources of its sidecars.
 */
function ofItsOwn(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

export function decodeJson(typeUrl: string, bytes: Uint8Array): JsonMessage {
  const value = readMessage(bytes, messagePlan(messageNameOf(typeUrl)));
  if (!isMessage(value)) throw new WireError(undefined, `${typeUrl} is not an object in JSON`);
  return value;
}

/** 128 bits of SHA-256 in hex: a collision would leave a proxy with old configuration, so 32 bits would not do. */
export function contentVersion(bytes: Uint8Array): string {
  return hash("sha256", bytes, "hex").slice(0, 32);
}

export interface EncodedMessage {
  readonly bytes: Uint8Array;
  readonly version: string;
}

/**
 * Bytes and version at once, as a snapshot wants them. `previous` are the bytes of the same resource before: of a load
 * assignment, only what changed since is encoded again.
 */
export function encodeResource(typeUrl: string, value: JsonMessage, previous?: Uint8Array): EncodedMessage {
  if (messageNameOf(typeUrl) === assignmentType && isPlainAssignment(value)) return encodeAssignment(value, previous);
  const bytes = encodeJson(typeUrl, value);
  return { bytes, version: contentVersion(bytes) };
}
