// Decides what the webhook does with one pod: leave it alone (and why), refuse it (what must be mended), or which patch makes it
// a member of the mesh. A function of its arguments; webhook-server.ts carries question and answer. Asked twice about the same
// pod (reinvocation), it leaves what it did the first time as it is.
import { err, ok, type Problem, type Result } from "../../shared/result.ts";
import { injectionWish, readExclusions, type Annotations } from "./annotations.ts";
import { pointerSegment, prepend, setEntries, type PatchOperation } from "./json-patch.ts";
import type { PodFacts } from "./pod.ts";
import { rewriteProbes } from "./probes.ts";
import { redirectRules } from "./redirect-rules.ts";
import {
  injectedLabel,
  initContainer,
  proxyContainer,
  proxyPorts,
  proxyUid,
  systemNamespace,
  type InjectionSettings,
} from "./settings.ts";
import { fileAnnotations, proxySidecar, redirectContainer, sidecarVolumeNames, sidecarVolumes } from "./sidecar.ts";

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

/** Everything in a pod that would not work beside the sidecar, said at admission rather than by a crash loop. */
function checkPod(pod: PodFacts): readonly Problem[] {
  const containers = [...pod.initContainers, ...pod.containers];
  const names = new Set([proxyContainer, initContainer]);
  const reserved = new Set<number>([
    ...[proxyPorts.outbound, proxyPorts.inbound, proxyPorts.admin, proxyPorts.readiness, proxyPorts.metrics],
  ]);
  const isReserved = (port: number) =>
    reserved.has(port) || (port >= proxyPorts.firstProbe && port <= proxyPorts.lastProbe);
  const problem = (code: string, message: string, field: string): Problem => ({ code, message, field });
  const asProxy = `runs as user ${proxyUid}, whose traffic is never redirected: choose another runAsUser`;
  return [
    ...(pod.runAsUser === proxyUid
      ? [problem("ISTHMUS_USER_RESERVED", `the pod ${asProxy}`, "spec.securityContext")]
      : []),
    ...containers.flatMap((container) => [
      ...(container.runAsUser === proxyUid
        ? [problem("ISTHMUS_USER_RESERVED", `container "${container.name}" ${asProxy}`, "spec.containers")]
        : []),
      ...(names.has(container.name)
        ? [
            problem(
              "ISTHMUS_NAME_RESERVED",
              `container name "${container.name}" belongs to the mesh`,
              "spec.containers",
            ),
          ]
        : []),
      ...container.ports
        .filter(({ port }) => isReserved(port))
        .map(({ port }) =>
          problem(
            "ISTHMUS_PORT_RESERVED",
            `port ${port} of container "${container.name}" belongs to the sidecar`,
            "spec.containers",
          ),
        ),
    ]),
    ...pod.volumeNames
      .filter((name) => sidecarVolumeNames.includes(name))
      .map((name) => problem("ISTHMUS_NAME_RESERVED", `volume name "${name}" belongs to the mesh`, "spec.volumes")),
  ];
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

function buildPatch(
  pod: PodFacts,
  namespace: NamespaceFacts,
  settings: InjectionSettings,
): Result<readonly PatchOperation[]> {
  const exclusions = readExclusions(pod.annotations, settings.exclusions);
  if (!exclusions.ok) return exclusions;
  // what the pod's author put beside the application as a native sidecar is probed like it
  const probes = rewriteProbes([...pod.containers, ...pod.initContainers], exclusions.value.inboundPorts);
  if (!probes.ok) return probes;
  const openPorts = [proxyPorts.readiness, proxyPorts.metrics, ...probes.value.probes.map((probe) => probe.port)];
  const rules = redirectRules({ exclusions: exclusions.value, openPorts });
  return ok([
    // first, as they name containers by position
    ...probes.value.patch,
    ...prepend("/spec/initContainers", pod.hasInitContainers, [
      redirectContainer(settings, rules),
      proxySidecar(settings, probes.value.probes),
    ]),
    ...prepend("/spec/volumes", pod.hasVolumes, sidecarVolumes()),
    ...setEntries("/metadata/labels", pod.hasLabels, { [injectedLabel]: "true" }),
    ...setEntries("/metadata/annotations", pod.hasAnnotations, {
      ...fileAnnotations(),
      ...scrapeAnnotations(pod, namespace),
    }),
  ]);
}

export function decideInjection(
  pod: PodFacts,
  namespace: NamespaceFacts,
  settings: InjectionSettings,
): Result<Injection> {
  const skip = skipReason(pod, namespace);
  if (!skip.ok) return skip;
  if (skip.value === "already-injected") return ok({ inject: false, reason: skip.value, patch: [] });
  if (skip.value !== undefined) return ok({ inject: false, reason: skip.value, patch: withoutFalseLabel(pod) });
  const problems = checkPod(pod);
  if (problems.length > 0) return err(problems);
  const patch = buildPatch(pod, namespace, settings);
  return patch.ok ? ok({ inject: true, patch: patch.value }) : patch;
}
