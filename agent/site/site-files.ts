// The files in which a site's agent keeps what must outlive it: the key of its tokens, who has which number, when an export
// was first seen, the last good registry. Each is written whole or not at all, for this program's user alone.
import { randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import { packRegistry, registryDigest, unpackRegistry, type RegistryCopy } from "../hub/registry-copy.ts";
import type { ServiceInput } from "../ir/inputs.ts";
import { noAllocations, type Allocations } from "./allocations.ts";

const KEY_BYTES = 32;

/** Losing it costs no more than new tokens, which the agent writes at once. */
export async function tokenKey(dataDir: string): Promise<Uint8Array> {
  const path = join(dataDir, "token.key");
  if (!(await fileExists(path))) await writeSecretFile(path, `${randomBytes(KEY_BYTES).toString("hex")}\n`, 0o600);
  const key = Buffer.from((await readSecretFile(path)).trim(), "hex");
  if (key.length === KEY_BYTES) return key;
  throw damaged(path, "remove it: a new one is made, and workloads get new tokens");
}

/** A small JSON file that is read once and written when its content changes. */
export interface KeptFile<T> {
  readonly load: () => Promise<T>;
  readonly save: (value: T) => Promise<void>;
}

export function allocationFile(dataDir: string): KeptFile<Allocations> {
  return keptFile(join(dataDir, "addresses.json"), noAllocations, isAllocations);
}

export function exportTimesFile(dataDir: string): KeptFile<Readonly<Record<string, number>>> {
  return keptFile(join(dataDir, "exports.json"), {}, isBook);
}

/** Services that stand for imports. In a cluster the API server keeps them. */
export function importsFile(dataDir: string): KeptFile<readonly ServiceInput[]> {
  return keptFile(join(dataDir, "imports.json"), [], isServices);
}

/** What each manifest file said when it was good last: a slip and a restart together must not close a shop either. */
export function goodManifestsFile(dataDir: string): KeptFile<Readonly<Record<string, string>>> {
  return keptFile(join(dataDir, "manifests.json"), {}, isTexts);
}

function keptFile<T>(path: string, otherwise: T, isWhole: (value: unknown) => value is T): KeptFile<T> {
  return {
    load: async () => {
      if (!(await fileExists(path))) return otherwise;
      const value = parseJson(await readSecretFile(path));
      if (isWhole(value)) return value;
      throw damaged(
        path,
        "restore it, or remove it: addresses are then given anew, and applications must look them up again",
      );
    },
    save: (value) => writeSecretFile(path, `${JSON.stringify(value, null, 2)}\n`, 0o600),
  };
}

function damaged(path: string, hint: string): UserError {
  return new UserError("ISTHMUS_DATA", `${path} is damaged`, { hint });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // the caller names the file
  }
}

function isBook(value: unknown): value is Readonly<Record<string, number>> {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((number) => typeof number === "number" && Number.isInteger(number))
  );
}

function isTexts(value: unknown): value is Readonly<Record<string, string>> {
  return typeof value === "object" && value !== null && Object.values(value).every((text) => typeof text === "string");
}

/** Written by us alone: that it is whole is all there is to ask. */
function isServices(value: unknown): value is readonly ServiceInput[] {
  return (
    Array.isArray(value) && value.every((each) => typeof (each as Partial<ServiceInput> | null)?.importOf === "string")
  );
}

function isAllocations(value: unknown): value is Allocations {
  const books = value as Partial<Record<keyof Allocations, unknown>> | null | undefined;
  return isBook(books?.workloads) && isBook(books.services) && isBook(books.proxyPorts);
}

export function registryFile(dataDir: string): RegistryCopy {
  const path = join(dataDir, "registry.json.gz");
  let digest = "";
  return {
    load: async () => {
      if (!(await fileExists(path))) return undefined;
      const content = await unpackRegistry(await readFile(path));
      if (content !== undefined) digest = registryDigest(content);
      return content;
    },
    save: async (content) => {
      const now = registryDigest(content);
      if (now === digest) return;
      await writeFile(`${path}.new`, await packRegistry(content), { mode: 0o600, flush: true });
      await rename(`${path}.new`, path);
      digest = now;
    },
  };
}

/** A failure of the file system, or one that somebody wrote a sentence about; anything else is a fault of ours. */
export function isForAPerson(error: unknown): error is Error {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}
