// The two pieces of work that come by the thousand: proof of possession of a request, and a leaf; a batch of one kind at a time.
// Synchronous, so that a batch runs in a worker thread or, when small, where it is asked for. What crosses threads is a few
// large buffers: an array of small ones cost more CPU time to copy and to collect than a signature does (measured).
// Called by signing-worker.ts and signing-pool.ts. Light: no package is loaded, a worker starts with this.
import { createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { ok, type Problem, type Result } from "../result.ts";
import { makeLeaf, type LeafNames, type LeafPattern } from "./leaf-pattern.ts";
import { proofOf, type Proof } from "./p256-request.ts";

/** What signs: a P-256 key that this process holds, and the pattern of what it signs. */
export interface LeafSigner {
  readonly key: KeyObject;
  readonly pattern: LeafPattern;
}

export interface LeafJob {
  readonly names: LeafNames;
  /** Undefined: a new key is made for it. */
  readonly spkiDer: Uint8Array | undefined;
}

export interface MadeLeaf {
  readonly der: Uint8Array;
  /** PKCS#8 of the key that was made; empty when the caller brought one. */
  readonly keyPem: string;
}

/** Byte strings end to end; the n-th ends at `ends[n]`. An empty one stands for "none". */
interface Packed {
  readonly bytes: Uint8Array;
  readonly ends: readonly number[];
}

export type Batch =
  | { readonly kind: "requests"; readonly requests: Packed }
  | {
      readonly kind: "leaves";
      readonly signer: LeafSigner;
      readonly names: readonly LeafNames[];
      readonly spkis: Packed;
    };

export type BatchAnswer =
  | { readonly kind: "requests"; readonly proofs: readonly Proof[] }
  | {
      readonly kind: "leaves";
      readonly leaves: Packed;
      readonly keyPems: readonly string[];
      /** Of those that are empty in `leaves`. */
      readonly problems: ReadonlyMap<number, readonly Problem[]>;
    };

export function requestBatch(csrDers: readonly Uint8Array[]): Batch {
  return { kind: "requests", requests: pack(csrDers) };
}

export function leafBatch(signer: LeafSigner, jobs: readonly LeafJob[]): Batch {
  const spkis = pack(jobs.map(({ spkiDer }) => spkiDer ?? none));
  return { kind: "leaves", signer, names: jobs.map(({ names }) => names), spkis };
}

export function perform(batch: Batch): BatchAnswer {
  if (batch.kind === "requests") return { kind: "requests", proofs: unpack(batch.requests).map(proofOf) };
  const spkis = unpack(batch.spkis);
  const made = batch.names.map((names, at) => signedLeaf(batch.signer, names, spkis[at] ?? none));
  const problems = new Map(made.flatMap((leaf, at) => (leaf.ok ? [] : [[at, leaf.error] as const])));
  const leaves = pack(made.map((leaf) => (leaf.ok ? leaf.value.der : none)));
  return { kind: "leaves", leaves, keyPems: made.map((leaf) => (leaf.ok ? leaf.value.keyPem : "")), problems };
}

/** In the order of the batch. */
export function leavesOf(answer: BatchAnswer & { readonly kind: "leaves" }): readonly Result<MadeLeaf>[] {
  return unpack(answer.leaves).map((der, at) => {
    const problems = answer.problems.get(at);
    // a copy of its own: a leaf lives for hours, the batch's buffer must not
    return problems === undefined
      ? ok({ der: der.slice(), keyPem: answer.keyPems[at] ?? "" })
      : { ok: false, error: problems };
  });
}

/** What may be handed over to the other thread instead of being copied. */
export function handedOver(message: Batch | BatchAnswer): readonly ArrayBuffer[] {
  const packed = "requests" in message ? message.requests : "leaves" in message ? message.leaves : undefined;
  return packed === undefined ? [] : [packed.bytes.buffer as ArrayBuffer];
}

function signedLeaf({ key, pattern }: LeafSigner, names: LeafNames, spkiDer: Uint8Array): Result<MadeLeaf> {
  const made = spkiDer.length === 0 ? newKey() : { spkiDer, keyPem: "" };
  const leaf = makeLeaf(pattern, names, made.spkiDer, (tbs) => sign("sha256", tbs, key));
  return leaf.ok ? ok({ der: leaf.value, keyPem: made.keyPem }) : leaf;
}

function newKey(): { readonly spkiDer: Uint8Array; readonly keyPem: string } {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    spkiDer: createPublicKey(privateKey).export({ type: "spki", format: "der" }),
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

const none = new Uint8Array();

/** Never from Buffer's shared slab, which could not be handed over. */
function pack(parts: readonly Uint8Array[]): Packed {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  const ends = parts.map((part) => {
    bytes.set(part, at);
    return (at += part.length);
  });
  return { bytes, ends };
}

function unpack({ bytes, ends }: Packed): readonly Uint8Array[] {
  return ends.map((end, at) => bytes.subarray(at === 0 ? 0 : ends[at - 1], end));
}
