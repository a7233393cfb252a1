// Makes the ServiceImports that should exist, and for each the derived Service `isthmus-<name>` whose ClusterIP is the
// import's address (docs/decisions/0003). Run as leader. Only objects of our own are ever changed or removed, and nothing
// is removed while the hub is away: an exporter we cannot hear of is not an exporter gone.
import type { Problem } from "../../shared/result.ts";
import type { ServiceInput } from "../ir/inputs.ts";
import type { ServiceImportIr } from "../ir/types.ts";
import { isApiError } from "./api-error.ts";
import { fieldOf, sameValue, stringOf } from "./json.ts";
import type { Kube } from "./kube.ts";
import { managedByUs, type ServiceImportRecord } from "./parse/service-import.ts";
import { apiVersionOf, services, type ResourceType } from "./resources.ts";
import {
  derivedServiceBody,
  derivedServiceName,
  importBody,
  importSpec,
  importStatus,
  servicePorts,
} from "./service-import-bodies.ts";
import { createWriter, type Writer } from "./writer.ts";

export interface ImportsWanted {
  readonly imports: readonly ServiceImportIr[];
  /** The registry is the hub's present word, not only the last one we heard. */
  readonly hubConnected: boolean;
}

export interface ImportsWriter extends Writer<ImportsWanted> {
  /** Of the last round: imports that could not be made. */
  problems(): readonly Problem[];
}

export function createImportsWriter(kube: Kube): ImportsWriter {
  let problems: readonly Problem[] = [];
  const writer = createWriter<ImportsWanted>({
    ...kube,
    name: "imports",
    write: async (wanted, signal) => {
      const resource = kube.served("ServiceImport");
      if (resource === undefined) return; // no CRD: nothing can be imported, and the state of the watch says so
      const round: Round = { kube, resource, hubConnected: wanted.hubConnected, problems: [] };
      for (const item of wanted.imports) {
        signal.throwIfAborted();
        await writeImport(round, item);
      }
      if (wanted.hubConnected) await removeOthers(round, wanted.imports, signal);
      problems = round.problems;
    },
  });
  return { ...writer, problems: () => problems };
}

interface Round {
  readonly kube: Kube;
  readonly resource: ResourceType;
  readonly hubConnected: boolean;
  readonly problems: Problem[];
}

async function writeImport(round: Round, item: ServiceImportIr): Promise<void> {
  const { kube } = round;
  if (!canHold(kube, item.namespace)) return;
  const present = kube.stores.imports.get(item.namespace, item.name);
  const obstacle = obstacleOf(kube, item, present?.record);
  if (obstacle !== undefined) {
    round.problems.push({ ...obstacle, object: { kind: "ServiceImport", namespace: item.namespace, name: item.name } });
    return;
  }
  // the import first: the derived Service belongs to it, so that removing the one removes the other
  const uid = present?.uid ?? (await applySpec(round, item, []));
  const ips = item.type === "Headless" ? [] : await addressOf(round, item, uid);
  if (!sameValue(present?.record?.spec, importSpec(item, ips))) await applySpec(round, item, ips);
  await applyStatus(round, item, present?.record);
}

/** An import appears where its namespace exists (KEP-1645), and nothing can be made in one that is going. */
function canHold(kube: Kube, namespace: string): boolean {
  return kube.stores.namespaces.get("", namespace)?.record?.terminating === false;
}

function obstacleOf(kube: Kube, item: ServiceImportIr, present: ServiceImportRecord | undefined): Problem | undefined {
  if (present?.ours === false) {
    const message =
      "another controller made this ServiceImport; it is left alone: run one implementation of the MCS API";
    return { code: "ISTHMUS_IMPORT_FOREIGN", message };
  }
  const name = derivedServiceName(item.name);
  if (name === undefined) {
    const message =
      "its name leaves no room for the derived Service (at most 55 characters): export it under a shorter name";
    return { code: "ISTHMUS_IMPORT_NAME", message };
  }
  const service = kube.stores.services.get(item.namespace, name)?.record;
  if (service === undefined || service.importOf === `${item.namespace}/${item.name}`) return undefined;
  const message = `a Service ${name} that is not ours exists in the namespace: rename it`;
  return { code: "ISTHMUS_IMPORT_FOREIGN", message };
}

async function applySpec(round: Round, item: ServiceImportIr, ips: readonly string[]): Promise<string> {
  const at = { resource: round.resource, namespace: item.namespace, name: item.name };
  const written = await round.kube.client.apply(at, importBody(round.resource, item, ips), true);
  return stringOf(fieldOf(written, "metadata", "uid"));
}

/** The addresses of the derived Service, which is made or mended first where needed. */
async function addressOf(round: Round, item: ServiceImportIr, importUid: string): Promise<readonly string[]> {
  const { kube, resource } = round;
  const name = derivedServiceName(item.name) ?? "";
  const present = kube.stores.services.get(item.namespace, name)?.record;
  if (present !== undefined && carries(present, item)) return present.clusterIps;
  const at = { resource: services, namespace: item.namespace, name };
  const written = await kube.client.apply(at, derivedServiceBody(item, { resource, uid: importUid }), true);
  const ips = fieldOf(written, "spec", "clusterIPs");
  return Array.isArray(ips) ? ips.map(stringOf) : [];
}

function carries(service: ServiceInput, item: ServiceImportIr): boolean {
  const wanted = servicePorts(item).map(({ name, port, protocol }) => `${name}/${port}/${protocol}`);
  const present = service.ports.map(({ name, port, protocol }) => `${name}/${port}/${protocol}`);
  return service.clusterIps.length > 0 && sameValue(wanted.sort(), present.sort());
}

async function applyStatus(
  round: Round,
  item: ServiceImportIr,
  present: ServiceImportRecord | undefined,
): Promise<void> {
  const { kube, resource } = round;
  const nowText = new Date(kube.clock.now()).toISOString().replace(/\.\d{3}Z$/, "Z");
  const status = importStatus(item, round.hubConnected, present?.status, nowText);
  if (sameValue(present?.status, status)) return;
  const at = { resource, namespace: item.namespace, name: item.name, subresource: "status" as const };
  const metadata = { namespace: item.namespace, name: item.name };
  await kube.client.apply(at, { apiVersion: apiVersionOf(resource), kind: resource.kind, metadata, status }, true);
}

/** Imports of ours, and derived Services, that nobody wants any more. */
async function removeOthers(round: Round, imports: readonly ServiceImportIr[], signal: AbortSignal): Promise<void> {
  const { kube, resource } = round;
  const wanted = new Map(imports.map((item) => [`${item.namespace}/${item.name}`, item.type]));
  for (const { record, uid } of [...kube.stores.imports.all()]) {
    if (record?.ours !== true || wanted.has(`${record.namespace}/${record.name}`)) continue;
    signal.throwIfAborted();
    await remove(kube, { resource, namespace: record.namespace, name: record.name }, uid);
  }
  for (const { record, uid } of [...kube.stores.services.all()]) {
    if (record === undefined || record.importOf === "" || wanted.get(record.importOf) === "ClusterSetIP") continue;
    signal.throwIfAborted();
    await remove(kube, { resource: services, namespace: record.namespace, name: record.name }, uid);
  }
}

async function remove(
  kube: Kube,
  at: { resource: ResourceType; namespace: string; name: string },
  uid: string,
): Promise<void> {
  try {
    await kube.client.remove(at, uid);
    kube.log.info("import removed", {
      kind: at.resource.kind,
      namespace: at.namespace,
      name: at.name,
      by: managedByUs,
    });
  } catch (error) {
    // gone already, or another object of that name by now: both are what was wanted
    if (!isApiError(error, "not-found", "conflict")) throw error;
  }
}
