// What tests ask of pod templates: which there are, and where they fall short of the restricted Pod Security Standard
// (kubernetes.io/docs/concepts/security/pod-security-standards), written out here so that no cluster is needed.
import type { Manifest } from "./helm.ts";

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources?: { readonly requests?: Record<string, string>; readonly limits?: Record<string, string> };
  readonly securityContext?: SecurityContext;
  readonly readinessProbe?: unknown;
  readonly livenessProbe?: unknown;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

interface SecurityContext {
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly privileged?: boolean;
  readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
  readonly seccompProfile?: { readonly type: string };
}

export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly securityContext?: SecurityContext;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly volumes?: readonly ({ readonly name: string } & Record<string, unknown>)[];
}

export interface Workload {
  readonly title: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
}

export function workloadsOf(manifests: readonly Manifest[]): readonly Workload[] {
  return manifests
    .filter(({ kind }) => ["Deployment", "StatefulSet", "DaemonSet", "Job"].includes(kind))
    .map((manifest) => {
      const { template } = manifest["spec"] as {
        template: { metadata: { labels: Record<string, string> }; spec: PodSpec };
      };
      return {
        title: `${manifest.kind} ${manifest.metadata.name}`,
        labels: template.metadata.labels,
        spec: template.spec,
      };
    });
}

export function containersOf(spec: PodSpec): readonly Container[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

const allowedVolumes = new Set([
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
]);

/** Every rule of the standard that the pod breaks, and a root file system that can be written. */
export function restrictedViolations({ title, spec }: Workload): readonly string[] {
  const pod = spec.securityContext ?? {};
  const found = containersOf(spec).flatMap((container) =>
    containerViolations(pod, container.securityContext ?? {}).map((rule) => `${title}/${container.name}: ${rule}`),
  );
  const volumes = (spec.volumes ?? []).filter((volume) =>
    Object.keys(volume).some((key) => key !== "name" && !allowedVolumes.has(key)),
  );
  return [
    ...found,
    ...(spec.hostNetwork || spec.hostPID ? [`${title}: shares the node's namespaces`] : []),
    ...volumes.map((volume) => `${title}: volume ${volume.name} is of a type that is not allowed`),
  ];
}

function containerViolations(pod: SecurityContext, own: SecurityContext): readonly string[] {
  const added = own.capabilities?.add ?? [];
  const rules: readonly (readonly [boolean, string])[] = [
    [(own.runAsNonRoot ?? pod.runAsNonRoot) === true, "runAsNonRoot is not true"],
    [(own.runAsUser ?? pod.runAsUser) !== 0, "runs as user 0"],
    [(own.seccompProfile ?? pod.seccompProfile)?.type === "RuntimeDefault", "seccompProfile is not RuntimeDefault"],
    [own.allowPrivilegeEscalation === false, "allowPrivilegeEscalation is not false"],
    [own.privileged !== true, "is privileged"],
    [own.capabilities?.drop?.includes("ALL") === true, "does not drop ALL capabilities"],
    [added.every((name) => name === "NET_BIND_SERVICE"), `adds capabilities ${added.join(", ")}`],
    [own.readOnlyRootFilesystem === true, "its root file system can be written"],
  ];
  return rules.filter(([kept]) => !kept).map(([, rule]) => rule);
}
