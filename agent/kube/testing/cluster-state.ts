// A Kube on a real API server with our CRDs, for the tests of this folder; and the objects they write.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { systemClock } from "../../../shared/clock.ts";
import { jsonLog } from "../../../shared/log.ts";
import { createClient, type KubeClient } from "../client.ts";
import { openConnection } from "../connection.ts";
import { fieldOf, type JsonObject } from "../json.ts";
import { openKube, type Kube, type KubeConfig } from "../kube.ts";
import { customResourceDefinitions, namespaces, type ObjectPath, type ResourceType } from "../resources.ts";
import { startApiServer, type ApiServerPrograms, type RealApiServer } from "./real-api-server.ts";

export interface OpenedKube {
  readonly kube: Kube;
  close(): Promise<void>;
}

/** Opens and waits for the first complete lists. */
export async function opened(kubeconfig: string, more: Partial<KubeConfig> = {}): Promise<OpenedKube> {
  const log = jsonLog("error", (line) => void process.stderr.write(line));
  const kube = await openKube({ connection: { kind: "kubeconfig", path: kubeconfig }, log, ...more });
  const abort = new AbortController();
  const done = kube.run(abort.signal);
  const close = async () => {
    abort.abort();
    await done;
  };
  await kube.whenSynced(AbortSignal.timeout(30_000)).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return { kube, close };
}

export interface OpenedCluster extends OpenedKube {
  readonly server: RealApiServer;
}

/** An API server of its own, with our CRDs and these namespaces, and what the agent sees of it. */
export async function openCluster(
  programs: ApiServerPrograms,
  { namespaces: names }: { readonly namespaces: readonly string[] },
): Promise<OpenedCluster> {
  const server = await startApiServer(programs);
  try {
    const setUp = createClient(await openConnection({ kind: "kubeconfig", path: server.kubeconfig() }, systemClock));
    await installCrds(setUp);
    for (const name of names) await write(setUp, namespaces, name);
    setUp.close();
    const view = await opened(server.kubeconfig());
    return { server, kube: view.kube, close: () => view.close().finally(() => server.stop()) };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Applies the CRDs of the chart, changed or not, and returns when the API server serves every one of them. */
export async function installCrds(
  client: KubeClient,
  change: (crd: JsonObject) => JsonObject = (crd) => crd,
): Promise<void> {
  const directory = join(import.meta.dirname, "../../../deploy/charts/agent/crds");
  for (const file of readdirSync(directory)) {
    for (const document of parseAllDocuments(readFileSync(join(directory, file), "utf8"))) {
      await installCrd(client, change(document.toJS() as JsonObject));
    }
  }
}

export async function installCrd(client: KubeClient, crd: JsonObject): Promise<void> {
  const at = { resource: customResourceDefinitions, name: String(fieldOf(crd, "metadata", "name")) };
  await client.apply(at, crd, true);
  const signal = AbortSignal.timeout(20_000);
  const selection = { fieldSelector: `metadata.name=${at.name}` };
  const list = await client.listPage(
    { resource: customResourceDefinitions },
    { ...selection, limit: 1, next: "" },
    signal,
  );
  if (list.items.some(isEstablished)) return;
  const from = { ...selection, resourceVersion: list.resourceVersion, timeoutSeconds: 20, inactivityMs: 20_000 };
  for await (const batch of await client.watch({ resource: customResourceDefinitions }, from, signal)) {
    if (batch.some(({ object }) => isEstablished(object))) return;
  }
  throw new Error(`${at.name} is not served`);
}

function isEstablished(crd: unknown): boolean {
  const conditions = fieldOf(crd, "status", "conditions");
  return (
    Array.isArray(conditions) &&
    conditions.some((item) => fieldOf(item, "type") === "Established" && fieldOf(item, "status") === "True")
  );
}

export function object(resource: ResourceType, namespace: string, name: string, rest: JsonObject = {}): JsonObject {
  const apiVersion = resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
  const { metadata, ...body } = rest;
  const names = namespace === "" ? { name } : { namespace, name };
  return { apiVersion, kind: resource.kind, metadata: { ...names, ...(metadata as JsonObject | undefined) }, ...body };
}

export async function write(
  client: KubeClient,
  resource: ResourceType,
  key: string,
  rest: JsonObject = {},
): Promise<JsonObject> {
  const [namespace = "", name = ""] = key.includes("/") ? key.split("/") : ["", key];
  const at: ObjectPath = namespace === "" ? { resource, name } : { resource, namespace, name };
  return await client.apply(at, object(resource, namespace, name, rest), true);
}
