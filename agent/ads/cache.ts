// Encoded responses, shared by the streams that are due the same: a thousand sidecars of a class in step get one buffer.
// Called by stream. Short-lived by design: what is pushed now is asked for by all streams within the same moment, so a few
// entries are enough, and a full first answer must not stay in memory beside the resources that it copies.
import type { Batch, Protocol } from "../xds/order.ts";
import { encodeResponse } from "./messages.ts";

export interface Response {
  readonly nonce: string;
  readonly bytes: Buffer;
}

interface Entry {
  readonly protocol: Protocol;
  readonly batch: Batch;
  readonly response: Response;
}

/** A push reaches all streams of a class well within this; what nobody asked for since then is let go. */
const IDLE_MS = 2000;

/** Entries of a push differ by class, type and step; a busy agent serves tens of classes in one turn. */
const MAX_ENTRIES = 64;
const MAX_BYTES = 16 * 1024 * 1024;

export interface ResponseCache {
  /** `lastNonce` of the stream: a nonce must not come twice in a row, or an answer to the first would count for the second. */
  responseFor(protocol: Protocol, batch: Batch, lastNonce: string): Response;
  readonly encodes: number;
}

export function createResponseCache(): ResponseCache {
  const entries = new Set<Entry>();
  let bytes = 0;
  let encodes = 0;
  const drop = (entry: Entry) => {
    entries.delete(entry);
    bytes -= entry.response.bytes.length;
  };
  let idle: NodeJS.Timeout | undefined;
  const clearWhenIdle = () => {
    idle ??= setTimeout(() => {
      idle = undefined;
      entries.clear();
      bytes = 0;
    }, IDLE_MS).unref();
    idle.refresh();
  };
  const make = (protocol: Protocol, batch: Batch): Response => {
    encodes += 1;
    const nonce = encodes.toString(36);
    return { nonce, bytes: encodeResponse(protocol, batch, nonce) };
  };
  return {
    responseFor: (protocol, batch, lastNonce) => {
      for (const entry of entries) {
        if (entry.protocol !== protocol || entry.response.nonce === lastNonce || !equal(entry.batch, batch)) continue;
        return entry.response;
      }
      clearWhenIdle();
      const response = make(protocol, batch);
      entries.add({ protocol, batch, response });
      bytes += response.bytes.length;
      for (const oldest of entries) {
        if (entries.size <= MAX_ENTRIES && bytes <= MAX_BYTES) break;
        drop(oldest);
      }
      return response;
    },
    get encodes() {
      return encodes;
    },
  };
}

/** By identity of the resources: equal content has one object within a class. */
function equal(a: Batch, b: Batch): boolean {
  return a.type === b.type && sameItems(a.carried, b.carried) && sameItems(a.removed, b.removed);
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
