// The containers and volumes of a meshed pod: isthmus-init installs the redirect, isthmus-proxy is Envoy as a native sidecar
// (an init container that stays, KEP-753): it is ready before the application starts, outlives it at the end, and a Job finishes.
// Called by decide.ts. Nothing here runs a shell, and no image needs one.
import { bootstrapConfig, bootstrapFiles, envoyArguments } from "../xds/bootstrap.ts";
import type { Probe } from "../xds/bootstrap-listeners.ts";
import { workloadEnvironment } from "../xds/request-metrics.ts";
import type { PodFacts } from "./pod.ts";
import { initContainer, paths, proxyContainer, proxyPorts, proxyUid, type InjectionSettings } from "./settings.ts";

/** Kubernetes objects as they go into the patch. */
type Manifest = Readonly<Record<string, unknown>>;

const volumeNames = { trust: "isthmus-trust", token: "isthmus-token", config: "isthmus-config" } as const;
export const sidecarVolumeNames: readonly string[] = Object.values(volumeNames);

/** Kubernetes replaces `$(NAME)` in values and arguments; a doubled dollar is a plain one. */
function literal(text: string): string {
  return text.replaceAll("$", "$$$$");
}

function fieldEnv(name: string, fieldPath: string): Manifest {
  return { name, valueFrom: { fieldRef: { apiVersion: "v1", fieldPath } } };
}

/** Runs once as root with the one capability that writing rules of its own network namespace takes, and ends. */
export function redirectContainer(settings: InjectionSettings, rules: string): Manifest {
  return {
    name: initContainer,
    image: settings.initImage,
    imagePullPolicy: settings.imagePullPolicy,
    args: [literal(rules)],
    resources: { requests: { cpu: "10m", memory: "16Mi" }, limits: { memory: "64Mi" } },
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
}

function bootstrapText(settings: InjectionSettings, probes: readonly Probe[]): string {
  const { cluster, fleetDomain, agent, proxyMemoryLimitBytes } = settings;
  const config = bootstrapConfig({
    kind: "sidecar",
    cluster,
    fleetDomain,
    agent,
    trustDir: paths.trust,
    tokenDir: paths.token,
    configDir: paths.config,
    probes,
    maxHeapBytes: proxyMemoryLimitBytes,
  });
  return JSON.stringify(config);
}

/** Kubernetes replaces what it knows only when the pod has its name. */
function labelsEnv(cluster: string, workload: PodFacts["workload"]): readonly Manifest[] {
  const variables = workloadEnvironment({
    cluster,
    namespace: "$(POD_NAMESPACE)",
    kind: workload?.kind ?? "Pod",
    name: workload === undefined ? "$(POD_NAME)" : literal(workload.name),
    pod: "$(POD_NAME)",
  });
  return Object.entries(variables).map(([name, value]) => ({ name, value }));
}

function readyProbe(periodSeconds: number, failureThreshold: number): Manifest {
  return {
    httpGet: { path: "/ready", port: proxyPorts.readiness, scheme: "HTTP" },
    periodSeconds,
    timeoutSeconds: 3,
    failureThreshold,
  };
}

/**
 * No preStop hook: the kubelet ends a native sidecar after all containers it serves, and one that lingers would answer 503 (which
 * callers may not repeat) where a closed port is a connect failure (which they may).
 */
export function proxySidecar(
  settings: InjectionSettings,
  probes: readonly Probe[],
  workload: PodFacts["workload"],
): Manifest {
  const nodeId = "sidecar~$(POD_NAME).$(POD_NAMESPACE)";
  const serviceCluster = "$(SERVICE_ACCOUNT).$(POD_NAMESPACE)";
  return {
    name: proxyContainer,
    image: settings.proxyImage,
    imagePullPolicy: settings.imagePullPolicy,
    restartPolicy: "Always",
    args: [
      ...["--config-yaml", "$(ISTHMUS_BOOTSTRAP)"],
      ...envoyArguments(nodeId, serviceCluster, Math.min(settings.concurrency, 2)),
    ],
    env: [
      fieldEnv("POD_NAME", "metadata.name"),
      fieldEnv("POD_NAMESPACE", "metadata.namespace"),
      fieldEnv("SERVICE_ACCOUNT", "spec.serviceAccountName"),
      ...labelsEnv(settings.cluster, workload),
      { name: "ISTHMUS_BOOTSTRAP", value: literal(bootstrapText(settings, probes)) },
    ],
    ports: [{ name: "isthmus-stats", containerPort: proxyPorts.metrics, protocol: "TCP" }],
    // the application starts when Envoy has its configuration; two minutes bridge an agent that is being rolled out
    startupProbe: readyProbe(1, 120),
    readinessProbe: readyProbe(5, 3),
    resources: {
      requests: { cpu: settings.proxyCpuRequest, memory: settings.proxyMemoryRequest },
      limits: { memory: String(settings.proxyMemoryLimitBytes) },
    },
    securityContext: {
      runAsUser: proxyUid,
      runAsGroup: proxyUid,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
    volumeMounts: [
      { name: volumeNames.trust, mountPath: paths.trust, readOnly: true },
      { name: volumeNames.token, mountPath: paths.token, readOnly: true },
      { name: volumeNames.config, mountPath: paths.config, readOnly: true },
    ],
  };
}

function fileAnnotation(file: string): string {
  return `isthmus.dev/${file}`;
}

/**
 * Envoy reads its watched secrets from two small files. They are annotations of the pod, mounted by the downward API: the same
 * for every pod, free of secrets, and no image or ConfigMap has to carry them.
 */
export function fileAnnotations(): Readonly<Record<string, string>> {
  const files = bootstrapFiles({ trustDir: paths.trust, tokenDir: paths.token });
  return Object.fromEntries(
    Object.entries(files).map(([file, value]) => [fileAnnotation(file), JSON.stringify(value)]),
  );
}

export function sidecarVolumes(): readonly Manifest[] {
  const files = Object.keys(bootstrapFiles({ trustDir: paths.trust, tokenDir: paths.token }));
  return [
    {
      name: volumeNames.trust,
      projected: {
        sources: [{ configMap: { name: "isthmus-trust", items: [{ key: "roots.pem", path: "roots.pem" }] } }],
      },
    },
    {
      name: volumeNames.token,
      projected: {
        sources: [{ serviceAccountToken: { audience: "isthmus", expirationSeconds: 3600, path: "token" } }],
      },
    },
    {
      name: volumeNames.config,
      downwardAPI: {
        items: files.map((file) => ({
          path: file,
          fieldRef: { apiVersion: "v1", fieldPath: `metadata.annotations['${fileAnnotation(file)}']` },
        })),
      },
    },
  ];
}
