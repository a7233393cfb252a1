// Downloads of files whose hash is known beforehand. Nothing unverified reaches its final name; an address that does
// not answer is given up after CONNECT_MS so that the next source can be tried.
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { UserError } from "../errors.ts";
import type { Progress } from "../progress.ts";

/** Until the answer's headers; a machine without the network must fall through to the next source quickly. */
export const CONNECT_MS = 5000;
/** No byte for this long ends a download that had begun. */
const STALL_MS = 60_000;
const REPORT_MS = 5000;

export interface Hash {
  readonly algorithm: "sha256" | "sha512";
  readonly hex: string;
}

/** An answer with status 200, or an error that names the address and the reason. */
export async function request(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error(`no answer in ${CONNECT_MS / 1000} s`)), CONNECT_MS);
  try {
    const response = await fetch(url, { headers, signal: abort.signal });
    if (response.status !== 200) throw new Error(`status ${String(response.status)}`);
    return response;
  } catch (error) {
    throw new Error(`${url}: ${reason(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

export interface DownloadContext {
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

export async function download(url: string, file: string, hash: Hash, context: DownloadContext): Promise<void> {
  const response = await request(url, context.headers);
  if (response.body === null) throw new Error(`${url}: empty answer`);
  const total = Number(response.headers.get("content-length") ?? 0);
  const digest = createHash(hash.algorithm);
  const temporary = `${file}.part`;
  const stall = new AbortController();
  let received = 0;
  let lastReport = performance.now();
  let timer = setTimeout(() => stall.abort(), STALL_MS);
  const watch = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      clearTimeout(timer);
      timer = setTimeout(() => stall.abort(new Error(`${url}: no byte for ${STALL_MS / 1000} s`)), STALL_MS);
      digest.update(chunk);
      received += chunk.length;
      if (performance.now() - lastReport > REPORT_MS) {
        lastReport = performance.now();
        context.progress.say(`    ${(received / 1e6).toFixed(0)} of ${total ? (total / 1e6).toFixed(0) : "?"} MB`);
      }
      done(null, chunk);
    },
  });
  try {
    await pipeline(Readable.fromWeb(response.body), watch, createWriteStream(temporary), {
      signal: context.signal === undefined ? stall.signal : AbortSignal.any([stall.signal, context.signal]),
    });
    const actual = digest.digest("hex");
    if (actual !== hash.hex) {
      throw new UserError("ISTHMUS_CHECKSUM", `${url}: ${hash.algorithm} is ${actual}, expected ${hash.hex}`, {
        hint: "another file was answered; do not use it",
      });
    }
    await rename(temporary, file);
  } finally {
    clearTimeout(timer);
    await rm(temporary, { force: true });
  }
}
