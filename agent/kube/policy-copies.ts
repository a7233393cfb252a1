// Puts the SMI objects of other members here that they want here, keeps them as they are there, and takes them away again. A
// copy is known by its labels; whatever else has the name is somebody's own and is never touched. Run as leader.
import type { Problem } from "../../shared/result.ts";
import { incomingPolicies, placeOf, policyKinds, type IncomingPolicy, type ReplicaSources } from "../ir/replicas.ts";
import { convert } from "../smi/convert.ts";
import { manifestOf, type PolicyInputs } from "../smi/manifest.ts";
import type { SmiKindName } from "../smi/versions.ts";
import { isApiError } from "./api-error.ts";
import type { PolicyAside } from "./feeds.ts";
import { isObject, type JsonObject } from "./json.ts";
import type { Kube } from "./kube.ts";
import { labelName } from "./parse/metadata.ts";
import { managedByUs } from "./parse/service-import.ts";
import { apiVersionOf, type ObjectPath, type ResourceType } from "./resources.ts";
import type { Stored } from "./store.ts";
import { policyStore } from "./policy-store.ts";
import { createWriter, type Writer } from "./writer.ts";

type StoredPolicy = Stored<unknown, PolicyAside>;

export interface PolicyCopiesWriter extends Writer<ReplicaSources> {
  /** Copies that the API server does not take. */
  problems(): readonly Problem[];
}

export function createPolicyCopiesWriter(kube: Kube): PolicyCopiesWriter {
  let problems: readonly Problem[] = [];
  const writer = createWriter<ReplicaSources>({
    ...kube,
    name: "policy copies",
    write: async (wish, signal) => {
      const { taken } = incomingPolicies(wish);
      const refused: Problem[] = [];
      for (const record of taken.values()) {
        signal.throwIfAborted();
        refused.push(...(await place(kube, record)));
      }
      for (const kind of policyKinds) await withdraw(kube, kind, { taken, signal });
      problems = refused;
    },
  });
  return { ...writer, problems: () => problems };
}

async function place(kube: Kube, record: IncomingPolicy): Promise<readonly Problem[]> {
  const { policyKind: kind, namespace, name } = record;
  const resource = kube.served(kind);
  const home = kube.stores.namespaces.get("", namespace)?.record;
  // no such namespace here, or none that lasts: as with an import, the copy appears with it
  if (resource === undefined || home === undefined || home.terminating) return [];
  const present = policyStore(kube.stores, kind).get(namespace, name);
  if (present !== undefined && (!present.aside.isCopy || isAsWanted(kind, present, record))) return [];
  const body = copyOf(record, resource);
  if (body === undefined) return [refusedCopy(record, "what it sends is no such object")];
  try {
    await write(kube, { resource, namespace, name }, { body, present });
  } catch (error) {
    if (isApiError(error, "invalid")) return [refusedCopy(record, error.message)];
    // written or made by somebody meanwhile: the watch brings the next look
    if (!isApiError(error, "conflict", "already-exists", "not-found")) throw error;
  }
  return [];
}

async function write(
  kube: Kube,
  at: ObjectPath,
  { body, present }: { readonly body: JsonObject; readonly present: StoredPolicy | undefined },
): Promise<void> {
  if (present === undefined) {
    await kube.client.create({ resource: at.resource, namespace: at.namespace ?? "" }, body);
    return;
  }
  const { uid, resourceVersion } = present;
  const metadata = { ...(body["metadata"] as JsonObject), uid, resourceVersion };
  await kube.client.replace(at, { ...body, metadata });
}

/** Compared by what it means: an API server fills in what a manifest leaves out. */
function isAsWanted(kind: SmiKindName, { record }: StoredPolicy, wanted: IncomingPolicy): boolean {
  if (record === undefined) return false;
  const present = record as PolicyInputs[typeof kind];
  return present.replicatedFrom === wanted.cluster && JSON.stringify(manifestOf(kind, present)) === wanted.manifest;
}

/** Names and kind are those of the record, which the hub has checked; the rest is checked by the API server and our parsers. */
function copyOf(record: IncomingPolicy, resource: ResourceType): JsonObject | undefined {
  const { policyKind: kind, namespace, name, cluster } = record;
  const manifest = parsed(record.manifest);
  if (manifest === undefined) return undefined;
  const labels = { [labelName.replicatedFrom]: cluster, [labelName.managedBy]: managedByUs };
  const given = isObject(manifest["metadata"]) ? manifest["metadata"]["annotations"] : undefined;
  const metadata = { namespace, name, labels, ...(isObject(given) && { annotations: given }) };
  const whole = { apiVersion: manifest["apiVersion"], kind, metadata, spec: manifest["spec"] };
  const converted = convert(whole, apiVersionOf(resource));
  return converted.ok ? converted.value : undefined;
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function refusedCopy({ policyKind, namespace, name, cluster }: IncomingPolicy, reason: string): Problem {
  const message = `the copy of ${cluster}'s object cannot be put here: ${reason.slice(0, 500)}`;
  return { code: "ISTHMUS_REPLICA_INVALID", message, object: { kind: policyKind, namespace, name } };
}

async function withdraw(
  kube: Kube,
  kind: SmiKindName,
  { taken, signal }: { readonly taken: ReadonlyMap<string, IncomingPolicy>; readonly signal: AbortSignal },
): Promise<void> {
  const resource = kube.served(kind);
  if (resource === undefined) return;
  for (const { namespace, name, uid, aside } of [...policyStore(kube.stores, kind).all()]) {
    if (!aside.isCopy || taken.has(placeOf({ policyKind: kind, namespace, name } as IncomingPolicy))) continue;
    signal.throwIfAborted();
    try {
      await kube.client.remove({ resource, namespace, name }, uid);
    } catch (error) {
      // gone, or another object by now
      if (!isApiError(error, "not-found", "conflict")) throw error;
    }
  }
}
