// A pod as the API server shows it to the webhook, reduced to what injection looks at. unknown -> Result; every part keeps the
// JSON pointer that a patch of it needs. It must not judge: decide.ts does.
import type { Result } from "../../shared/result.ts";
import { readObject, type FieldReader } from "../kube/parse/field-reader.ts";
import { workloadOf } from "../kube/parse/pod.ts";
import type { Annotations } from "./annotations.ts";

export const probeFields = ["livenessProbe", "readinessProbe", "startupProbe"] as const;
export const hookFields = ["postStart", "preStop"] as const;

export interface HandlerFacts {
  /** JSON pointer of the object that holds httpGet, tcpSocket, grpc or exec. */
  readonly pointer: string;
  readonly field: (typeof probeFields)[number] | (typeof hookFields)[number];
  readonly action: "httpGet" | "tcpSocket" | "grpc";
  readonly port: number | string;
  /** Set when it goes to another host than the pod: then it is not ours. */
  readonly host: string;
}

export interface ContainerFacts {
  readonly name: string;
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly runAsUser: number | undefined;
  readonly handlers: readonly HandlerFacts[];
}

export interface PodFacts {
  /** As its author knows it: the name, or what it is generated from. */
  readonly name: string;
  /** Whose pod it is, as metrics name it; without an owner the pod is its own, which has its name only later. */
  readonly workload: { readonly kind: string; readonly name: string } | undefined;
  readonly hasLabels: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly hasAnnotations: boolean;
  readonly annotations: Annotations;
  readonly hostNetwork: boolean;
  readonly windows: boolean;
  readonly runAsUser: number | undefined;
  readonly hasVolumes: boolean;
  readonly volumeNames: readonly string[];
  readonly hasInitContainers: boolean;
  readonly initContainers: readonly ContainerFacts[];
  readonly containers: readonly ContainerFacts[];
}

const MAX_CONTAINERS = 256;
const MAX_PORTS = 1024;
const portRange = { min: 1, max: 65_535 };
const actions = ["httpGet", "tcpSocket", "grpc"] as const;

function isThere(field: FieldReader): boolean {
  return field.raw !== undefined && field.raw !== null;
}

function readPort(port: FieldReader): number | string {
  return typeof port.raw === "string" ? port.text({ maxLength: 63 }) : port.integer(portRange);
}

function readHandler(holder: FieldReader, pointer: string, field: HandlerFacts["field"]): readonly HandlerFacts[] {
  return actions
    .filter((action) => isThere(holder.at(action)))
    .map((action) => {
      const target = holder.at(action).map();
      return {
        pointer,
        field,
        action,
        port: readPort(target.at("port")),
        host: target.at("host").text({ otherwise: "" }),
      };
    });
}

function readContainer(container: FieldReader, pointer: string): ContainerFacts {
  const lifecycle = container.at("lifecycle");
  return {
    name: container.at("name").text({ maxLength: 63 }),
    ports: container
      .at("ports")
      .list({ max: MAX_PORTS })
      .map((port) => ({
        name: port.at("name").text({ otherwise: "", maxLength: 63 }),
        port: port.at("containerPort").integer(portRange),
      })),
    runAsUser: readUser(container),
    handlers: [
      ...probeFields.flatMap((field) => readHandler(container.at(field), `${pointer}/${field}`, field)),
      ...hookFields.flatMap((field) => readHandler(lifecycle.at(field), `${pointer}/lifecycle/${field}`, field)),
    ],
  };
}

function readUser(holder: FieldReader): number | undefined {
  const user = holder.at("securityContext").at("runAsUser");
  return isThere(user) ? user.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }) : undefined;
}

function readContainers(spec: FieldReader, list: "containers" | "initContainers"): readonly ContainerFacts[] {
  return spec
    .at(list)
    .list({ max: MAX_CONTAINERS, required: list === "containers" })
    .map((container, index) => readContainer(container, `/spec/${list}/${index}`));
}

export function parsePodToInject(object: unknown): Result<PodFacts> {
  return readObject(object, (root) => {
    const metadata = root.at("metadata").map();
    const spec = root.at("spec").map();
    const labels = metadata.at("labels");
    const annotations = metadata.at("annotations");
    const name = metadata.at("name").text({ otherwise: "" });
    const labelTexts = Object.fromEntries(labels.texts({ max: 4096 }));
    const { workloadKind, workloadName } = workloadOf(root, "", labelTexts);
    return {
      name: name === "" ? metadata.at("generateName").text({ otherwise: "" }) : name,
      workload: workloadName === "" ? undefined : { kind: workloadKind, name: workloadName },
      hasLabels: isThere(labels),
      labels: labelTexts,
      hasAnnotations: isThere(annotations),
      annotations: Object.fromEntries(annotations.texts({ max: 4096 })),
      hostNetwork: spec.at("hostNetwork").flag(false),
      windows:
        spec.at("os").at("name").raw === "windows" || spec.at("nodeSelector").at("kubernetes.io/os").raw === "windows",
      runAsUser: readUser(spec),
      hasVolumes: isThere(spec.at("volumes")),
      volumeNames: spec
        .at("volumes")
        .list({ max: 4096 })
        .map((volume) => volume.at("name").text({ maxLength: 63 })),
      hasInitContainers: isThere(spec.at("initContainers")),
      initContainers: readContainers(spec, "initContainers"),
      containers: readContainers(spec, "containers"),
    };
  });
}
