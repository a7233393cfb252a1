// Decides what the webhook does with one pod: leave it alone (and why), refuse it (what must be mended), or which patch makes it
// a member of the mesh. A function of its arguments; webhook-server.ts carries question and answer. Asked again about the
// same pod (reinvocation), it keeps what it did the first time and only takes in what others have added since.
import { err, ok, type Result } from "../../shared/result.ts";
import type { Probe } from "../xds/bootstrap-listeners.ts";
import { injectionWish, readExclusions, type Annotations } from "./annotations.ts";
import { pointerSegment, prepend, setEntries, type PatchOperation } from "./json-patch.ts";
import { checkPod } from "./pod-check.ts";
import type { ContainerFacts, PodFacts } from "./pod.ts";
import { parseProbes, probesAnnotation, probesText, rewriteProbes, type RewrittenProbes } from "./probes.ts";
import { redirectRules } from "./redirect-rules.ts";
import {
  injectedLabel,
  initContainer,
  proxyContainer,
  proxyPorts,
  systemNamespace,
  type InjectionSettings,
} from "./settings.ts";
import { fileAnnotations, proxySidecar, redirectContainer, sidecarVolumes } from "./sidecar.ts";

export interface NamespaceFacts {
  readonly name: string;
  /** Opted in by `isthmus.dev/inject=enabled` or OSM's `openservicemesh.io/monitored-by`. */
  readonly meshed: boolean;
  readonly annotations: Annotations;
}

export type SkipReason =
  "already-injected" | "system-namespace" | "namespace-not-meshed" | "disabled" | "host-network" | "windows";

export type Injection =
  | { readonly inject: true; readonly patch: readonly PatchOperation[] }
  | { readonly inject: false; readonly reason: SkipReason; readonly patch: readonly PatchOperation[] };

const unmeshableNamespaces: ReadonlySet<string> = new Set([
  systemNamespace,
  "kube-system",
  "kube-public",
  "kube-node-lease",
]);

/** Already done when the proxy is there as we put it: an init container. */
function isInjected(pod: PodFacts): boolean {
  return pod.initContainers.some((container) => container.name === proxyContainer);
}

/** The pod's own word goes before its namespace's. */
function skipReason(pod: PodFacts, namespace: NamespaceFacts): Result<SkipReason | undefined> {
  if (isInjected(pod)) return ok("already-injected");
  if (unmeshableNamespaces.has(namespace.name)) return ok("system-namespace");
  if (!namespace.meshed) return ok("namespace-not-meshed");
  const own = injectionWish(pod.annotations);
  if (!own.ok) return own;
  const inherited = injectionWish(namespace.annotations);
  if (!inherited.ok && own.value === undefined) return inherited;
  if ((own.value ?? (inherited.ok ? inherited.value : undefined)) === false) return ok("disabled");
  if (pod.hostNetwork) return ok("host-network");
  return ok(pod.windows ? "windows" : undefined);
}

/** A pod that says it is injected and is not would be called as if it had an identity. */
function withoutFalseLabel(pod: PodFacts): readonly PatchOperation[] {
  if (!Object.hasOwn(pod.labels, injectedLabel)) return [];
  return [{ op: "remove", path: `/metadata/labels/${pointerSegment(injectedLabel)}` }];
}

/** The namespace annotation `openservicemesh.io/metrics: enabled` (osm metrics enable): scrape what the sidecar exposes. */
function scrapeAnnotations(pod: PodFacts, namespace: NamespaceFacts): Readonly<Record<string, string>> {
  if (namespace.annotations["openservicemesh.io/metrics"] !== "enabled") return {};
  if (Object.hasOwn(pod.annotations, "prometheus.io/scrape")) return {};
  return {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": String(proxyPorts.metrics),
    "prometheus.io/path": "/stats/prometheus",
  };
}

/** The pod's own containers: an application's native sidecars are probed like it. */
function ownContainers(pod: PodFacts): readonly ContainerFacts[] {
  const ours: readonly string[] = [initContainer, proxyContainer];
  return [...pod.containers, ...pod.initContainers].filter(({ name }) => !ours.includes(name));
}

interface Sidecar {
  readonly init: unknown;
  readonly proxy: unknown;
  readonly probes: RewrittenProbes;
  /** What changes with the probes. */
  readonly annotations: Readonly<Record<string, string>>;
}

function sidecarOf(pod: PodFacts, settings: InjectionSettings, known: readonly Probe[]): Result<Sidecar> {
  const exclusions = readExclusions(pod.annotations, settings.exclusions);
  if (!exclusions.ok) return exclusions;
  const rewritten = rewriteProbes(ownContainers(pod), exclusions.value.inboundPorts, known);
  if (!rewritten.ok) return rewritten;
  const { probes } = rewritten.value;
  const openPorts = [proxyPorts.readiness, proxyPorts.metrics, ...probes.map((probe) => probe.port)];
  const rules = redirectRules({ exclusions: exclusions.value, openPorts });
  return ok({
    init: redirectContainer(settings, rules),
    proxy: proxySidecar(settings, probes, pod.workload),
    probes: rewritten.value,
    annotations: probes.length === 0 ? {} : { [probesAnnotation]: probesText(probes) },
  });
}

function buildPatch(
  pod: PodFacts,
  namespace: NamespaceFacts,
  settings: InjectionSettings,
): Result<readonly PatchOperation[]> {
  const sidecar = sidecarOf(pod, settings, []);
  if (!sidecar.ok) return sidecar;
  const { init, proxy, probes, annotations } = sidecar.value;
  return ok([
    // first, as they name containers by position
    ...probes.patch,
    ...prepend("/spec/initContainers", pod.hasInitContainers, [init, proxy]),
    ...prepend("/spec/volumes", pod.hasVolumes, sidecarVolumes()),
    ...setEntries("/metadata/labels", pod.hasLabels, { [injectedLabel]: "true" }),
    ...setEntries("/metadata/annotations", pod.hasAnnotations, {
      ...fileAnnotations(),
      ...annotations,
      ...scrapeAnnotations(pod, namespace),
    }),
  ]);
}

/** Another webhook may add containers after us; when the API server asks again, their probes are taken in too. */
function amendPatch(pod: PodFacts, settings: InjectionSettings): Result<readonly PatchOperation[]> {
  const known = parseProbes(pod.annotations[probesAnnotation] ?? "");
  if (!known.ok) return known;
  const sidecar = sidecarOf(pod, settings, known.value);
  if (!sidecar.ok) return sidecar;
  const { init, proxy, probes, annotations } = sidecar.value;
  if (probes.patch.length === 0) return ok([]);
  const replace = (name: string, value: unknown): readonly PatchOperation[] => {
    const position = pod.initContainers.findIndex((container) => container.name === name);
    return position < 0 ? [] : [{ op: "replace", path: `/spec/initContainers/${position}`, value }];
  };
  return ok([
    ...probes.patch,
    ...replace(initContainer, init),
    ...replace(proxyContainer, proxy),
    ...setEntries("/metadata/annotations", pod.hasAnnotations, annotations),
  ]);
}

export function decideInjection(
  pod: PodFacts,
  namespace: NamespaceFacts,
  settings: InjectionSettings,
): Result<Injection> {
  const skip = skipReason(pod, namespace);
  if (!skip.ok) return skip;
  if (skip.value === "already-injected") {
    const amended = amendPatch(pod, settings);
    return amended.ok ? ok({ inject: false, reason: skip.value, patch: amended.value }) : amended;
  }
  if (skip.value !== undefined) return ok({ inject: false, reason: skip.value, patch: withoutFalseLabel(pod) });
  const problems = checkPod(pod);
  if (problems.length > 0) return err(problems);
  const patch = buildPatch(pod, namespace, settings);
  return patch.ok ? ok({ inject: true, patch: patch.value }) : patch;
}
