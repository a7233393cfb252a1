// One Secret of the agent's own, with optimistic concurrency: two replicas share it and neither overwrites the other.
// Keys never reach a log or a message. Used for the cluster's identity and the webhook's CA (agent/identity, agent/inject).
import { UserError } from "../../shared/errors.ts";
import { decodeIdentity, encodeIdentity, type IdentityStore } from "../identity/identity-state.ts";
import { isApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, isObject, stringOf, type JsonObject } from "./json.ts";
import { labelName } from "./parse/metadata.ts";
import { managedByUs } from "./parse/service-import.ts";
import { apiVersionOf, secrets } from "./resources.ts";

export interface SecretName {
  readonly namespace: string;
  readonly name: string;
}

export interface SecretContent {
  readonly texts: Readonly<Record<string, string>>;
  /** resourceVersion: hand it back to save. */
  readonly version: string;
}

export interface SecretStore {
  load(): Promise<SecretContent | undefined>;
  /** The Secret then holds exactly `texts`. `version` undefined: it must not exist yet. */
  save(texts: Readonly<Record<string, string>>, version: string | undefined): Promise<SaveOutcome>;
}

export type SaveOutcome = { readonly saved: true; readonly version: string } | { readonly saved: false };

export function secretStore(client: KubeClient, at: SecretName): SecretStore {
  const path = { resource: secrets, ...at };
  return {
    load: async () => {
      try {
        return contentOf(await client.get(path));
      } catch (error) {
        if (isApiError(error, "not-found")) return undefined;
        throw error;
      }
    },
    save: async (texts, version) => {
      const body = secretBody(at, texts, version);
      try {
        const { namespace } = at;
        const written =
          version === undefined
            ? await client.create({ resource: secrets, namespace }, body)
            : await client.replace(path, body);
        return { saved: true, version: stringOf(fieldOf(written, "metadata", "resourceVersion")) };
      } catch (error) {
        // not-found: deleted since it was read; whoever holds the old version must look again
        if (isApiError(error, "conflict", "already-exists", "not-found")) return { saved: false };
        throw error;
      }
    },
  };
}

function secretBody(at: SecretName, texts: Readonly<Record<string, string>>, version: string | undefined): JsonObject {
  const data = Object.fromEntries(
    Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString("base64")]),
  );
  const labels = { [labelName.managedBy]: managedByUs };
  const metadata = { ...at, labels, ...(version === undefined ? {} : { resourceVersion: version }) };
  return { apiVersion: apiVersionOf(secrets), kind: secrets.kind, metadata, type: "Opaque", data };
}

function contentOf(secret: JsonObject): SecretContent {
  const data = fieldOf(secret, "data");
  const entries = isObject(data) ? Object.entries(data) : [];
  const texts = Object.fromEntries(
    entries.map(([key, value]) => [key, Buffer.from(stringOf(value), "base64").toString("utf8")]),
  );
  return { texts, version: stringOf(fieldOf(secret, "metadata", "resourceVersion")) };
}

/** The member's identity in its Secret. A save after somebody else's rejects: join and renewal then start from a fresh load. */
export function secretIdentityStore(store: SecretStore, at: SecretName): IdentityStore {
  let version: string | undefined;
  return {
    load: async () => {
      const content = await store.load();
      version = content?.version;
      if (content === undefined || Object.keys(content.texts).length === 0) return undefined;
      const state = decodeIdentity(content.texts);
      if (state.ok) return state.value;
      throw new UserError(
        "ISTHMUS_IDENTITY",
        `Secret ${at.namespace}/${at.name}: ${state.error[0]?.message ?? "unreadable"}`,
        {
          hint: "restore it, or delete it and join again with a new token",
        },
      );
    },
    save: async (state) => {
      const outcome = await store.save(encodeIdentity(state), version);
      if (!outcome.saved) {
        throw new UserError(
          "ISTHMUS_IDENTITY_CONFLICT",
          `Secret ${at.namespace}/${at.name} was changed by somebody else`,
          {
            hint: "another replica of the agent is joining or renewing; this one takes over its result",
          },
        );
      }
      version = outcome.version;
    },
  };
}
