// The last good registry, kept in ConfigMaps so that deleting every agent pod with the hub away loses no import. Gzipped
// and cut into chunks, for a ConfigMap holds 1 MiB. Written by the leader on change; loaded by every replica at start.
// Crash-safe: the head is one object, written last, and names the digest and the set (a or b) of the chunks it belongs to.
import { packRegistry, registryDigest, unpackRegistry, type RegistryCopy } from "../hub/registry-copy.ts";
import { isApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, stringOf, type JsonObject } from "./json.ts";
import { labelName } from "./parse/metadata.ts";
import { managedByUs } from "./parse/service-import.ts";
import { apiVersionOf, configMaps, type ObjectPath } from "./resources.ts";

export interface RegistryCopyOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly chunkBytes?: number;
}

const CHUNK_BYTES = 900_000;
const prefix = "isthmus-registry";

type ChunkSet = "a" | "b";

interface Head {
  readonly digest: string;
  readonly chunks: number;
  readonly set: ChunkSet;
}

export function openRegistryCopy(options: RegistryCopyOptions): RegistryCopy {
  const files = chunkFiles(options);
  /** What the API server holds, as far as we know. */
  let known: Head | undefined;
  let looked = false;
  const readHead = async () => {
    const first = await files.read(headName);
    known = first === undefined ? undefined : headOf(first);
    looked = true;
    return { first, head: known };
  };
  return {
    load: async () => {
      const { first, head } = await readHead();
      if (first === undefined || head === undefined) return undefined;
      const rest = await Promise.all(moreNames(head).map((name) => files.read(name)));
      const packed = [first, ...rest].map((chunk) =>
        Buffer.from(stringOf(fieldOf(chunk, "binaryData", "chunk")), "base64"),
      );
      const content = await whole(Buffer.concat(packed), head.digest);
      if (content === undefined) known = { ...head, digest: "" }; // the next save must not take it for the same
      return content;
    },
    save: async (content) => {
      if (!looked) await readHead(); // a save must not touch the chunks that the present head names
      const digest = registryDigest(content);
      if (known?.digest === digest) return;
      const packed = await packRegistry(content);
      const size = options.chunkBytes ?? CHUNK_BYTES;
      const head: Head = {
        digest,
        chunks: Math.max(1, Math.ceil(packed.length / size)),
        set: known?.set === "a" ? "b" : "a",
      };
      const chunk = (index: number) => packed.subarray(index * size, (index + 1) * size);
      for (const [index, name] of moreNames(head).entries()) await files.write(name, chunk(index + 1), {});
      await files.write(headName, chunk(0), { digest, chunks: String(head.chunks), set: head.set });
      const old = known === undefined ? [] : moreNames(known);
      known = head;
      for (const name of old) await files.remove(name);
    },
  };
}

const headName = `${prefix}-0`;

function moreNames(head: Head): readonly string[] {
  return Array.from({ length: head.chunks - 1 }, (_, index) => `${prefix}-${index + 1}${head.set}`);
}

function headOf(configMap: JsonObject): Head | undefined {
  const text = (key: string) => stringOf(fieldOf(configMap, "data", key));
  const [digest, chunks, set] = [text("digest"), Number(text("chunks")), text("set")];
  const known =
    digest !== "" && Number.isInteger(chunks) && chunks >= 1 && chunks <= 1000 && (set === "a" || set === "b");
  return known ? { digest, chunks, set } : undefined;
}

async function whole(packed: Buffer, digest: string): Promise<Uint8Array | undefined> {
  const content = await unpackRegistry(packed);
  return content !== undefined && registryDigest(content) === digest ? content : undefined;
}

function chunkFiles({ client, namespace }: RegistryCopyOptions) {
  const at = (name: string): ObjectPath => ({ resource: configMaps, namespace, name });
  return {
    read: async (name: string): Promise<JsonObject | undefined> => {
      try {
        return await client.get(at(name));
      } catch (error) {
        if (isApiError(error, "not-found")) return undefined;
        throw error;
      }
    },
    write: async (name: string, chunk: Uint8Array, data: Readonly<Record<string, string>>): Promise<void> => {
      const metadata = { name, namespace, labels: { [labelName.managedBy]: managedByUs } };
      const binaryData = { chunk: Buffer.from(chunk).toString("base64") };
      await client.apply(
        at(name),
        { apiVersion: apiVersionOf(configMaps), kind: configMaps.kind, metadata, data, binaryData },
        true,
      );
    },
    remove: async (name: string): Promise<void> => {
      try {
        await client.remove(at(name));
      } catch (error) {
        if (!isApiError(error, "not-found")) throw error;
      }
    },
  };
}
