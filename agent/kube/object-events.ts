// Says on an object what is wrong with it, where the object has no status to say it in (TrafficTarget, HTTPRouteGroup,
// TCPRoute, TrafficSplit, Service): one core/v1 Event per mistake, shown by `kubectl describe`. Level-triggered: a problem that stands is
// not told again with every push; its Event is refreshed before the API server drops it (after an hour). Run as leader.
import { createHash } from "node:crypto";
import type { Problem } from "../../shared/result.ts";
import { isApiError } from "./api-error.ts";
import { fieldManager } from "./client.ts";
import type { Kube } from "./kube.ts";
import * as resources from "./resources.ts";
import type { Stores } from "./feeds.ts";
import type { ObjectIdentity } from "./store.ts";
import { createWriter, type Writer } from "./writer.ts";

/** Well within the API server's --event-ttl of an hour. */
const RETELL_MS = 30 * 60_000;
const REFRESH_MS = 10 * 60_000;
/** A flood of mistakes must not become a flood of Events: the rest is told once these are mended. */
const MAX_EVENTS = 500;
const MAX_MESSAGE = 1000;

interface Told {
  readonly firstMs: number;
  readonly atMs: number;
  readonly count: number;
}

export function createEventWriter(kube: Kube): Writer<readonly Problem[]> {
  const told = new Map<string, Told>();
  return createWriter<readonly Problem[]>({
    ...kube,
    name: "events",
    refreshMs: REFRESH_MS,
    write: async (problems, signal) => {
      const standing = distinct(kube.stores, problems);
      for (const key of told.keys()) if (!standing.has(key)) told.delete(key);
      for (const [key, mistake] of standing) {
        const known = told.get(key);
        if (known !== undefined && kube.clock.now() - known.atMs < RETELL_MS) continue;
        signal.throwIfAborted();
        told.set(key, await tell(kube, mistake, known));
      }
    },
  });
}

interface Mistake {
  readonly problem: Problem;
  readonly resource: resources.ResourceType;
  readonly object: ObjectIdentity;
  readonly eventName: string;
}

function distinct(stores: Stores, problems: readonly Problem[]): ReadonlyMap<string, Mistake> {
  const mistakes = new Map<string, Mistake>();
  for (const problem of problems) {
    if (mistakes.size >= MAX_EVENTS) break;
    const mistake = mistakeOf(stores, problem);
    if (mistake !== undefined) mistakes.set(mistake.eventName, mistake);
  }
  return mistakes;
}

/** Undefined for problems that are about no object of this cluster, or about one that is gone. */
function mistakeOf(stores: Stores, problem: Problem): Mistake | undefined {
  const { object } = problem;
  const row = object === undefined ? undefined : tellable.get(object.kind);
  if (object === undefined || row === undefined) return undefined;
  const identity = stores[row.store].get(object.namespace ?? "", object.name);
  if (identity === undefined) return undefined;
  const parts = [identity.uid, problem.code, problem.field ?? "", problem.message];
  const digest = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
  return { problem, resource: row.resource, object: identity, eventName: `${object.name.slice(0, 230)}.${digest}` };
}

const tellable: ReadonlyMap<string, { readonly store: keyof Stores; readonly resource: resources.ResourceType }> =
  new Map([
    ["TrafficTarget", { store: "trafficTargets", resource: resources.trafficTargets }],
    ["HTTPRouteGroup", { store: "httpRouteGroups", resource: resources.httpRouteGroups }],
    ["TCPRoute", { store: "tcpRoutes", resource: resources.tcpRoutes }],
    ["UDPRoute", { store: "udpRoutes", resource: resources.smi.UDPRoute[0] }],
    ["TrafficSplit", { store: "trafficSplits", resource: resources.trafficSplits }],
    ["Service", { store: "services", resource: resources.services }],
    ["ServiceExport", { store: "exports", resource: resources.serviceExports }],
    ["ServiceImport", { store: "imports", resource: resources.serviceImports }],
    ["Pod", { store: "pods", resource: resources.pods }],
    ["MeshConfig", { store: "meshConfigs", resource: resources.meshConfigs }],
    ["Namespace", { store: "namespaces", resource: resources.namespaces }],
  ]);

/** Creates the Event, or refreshes it. Its name says object and mistake, so that a restarted agent finds its own. */
async function tell(kube: Kube, mistake: Mistake, known: Told | undefined): Promise<Told> {
  const now = kube.clock.now();
  const next: Told = { firstMs: known?.firstMs ?? now, atMs: now, count: (known?.count ?? 0) + 1 };
  const namespace = eventNamespace(mistake.object);
  try {
    await kube.client.create({ resource: resources.events, namespace }, eventBody(mistake, next));
  } catch (error) {
    // the namespace is going, or the object is: nobody is left to read it
    if (isApiError(error, "not-found", "forbidden")) return next;
    if (!isApiError(error, "already-exists")) throw error;
    const at = { resource: resources.events, namespace, name: mistake.eventName };
    await kube.client.mergePatch(at, { lastTimestamp: timeText(now), count: next.count });
  }
  return next;
}

/** An object without a namespace has its Events in `default`: the API server takes them nowhere else. */
function eventNamespace({ namespace }: ObjectIdentity): string {
  return namespace === "" ? "default" : namespace;
}

function eventBody({ problem, resource, object, eventName }: Mistake, told: Told) {
  const { namespace, name, uid } = object;
  const field = problem.field === undefined ? "" : `${problem.field} `;
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { namespace: eventNamespace(object), name: eventName },
    involvedObject: {
      ...{ apiVersion: resources.apiVersionOf(resource), kind: resource.kind, name, uid },
      ...(namespace === "" ? {} : { namespace }),
    },
    type: "Warning",
    reason: reasonOf(problem.code),
    message: `${field}${problem.message} (${problem.code})`.slice(0, MAX_MESSAGE),
    source: { component: fieldManager },
    reportingComponent: `isthmus.dev/${fieldManager}`,
    firstTimestamp: timeText(told.firstMs),
    lastTimestamp: timeText(told.atMs),
    count: told.count,
  };
}

/** `ISTHMUS_OBJECT_FIELD` -> `ObjectField`: the form that Kubernetes wants of a reason. */
function reasonOf(code: string): string {
  const words = code
    .replace(/^ISTHMUS_/, "")
    .toLowerCase()
    .split("_");
  return words.map((word) => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`).join("") || "Invalid";
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, "Z");
}
