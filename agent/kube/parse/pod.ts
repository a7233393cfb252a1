// v1 Pod -> PodInput. A finished pod is nothing to the mesh; a pod without an address yet is, for its sidecar asks first.
import type { PodInput } from "../../ir/inputs.ts";
import type { Result } from "../../../shared/result.ts";
import { readObject, type FieldReader } from "./field-reader.ts";
import { entryOf, isBeingDeleted, labelName, readLabels, readNames } from "./metadata.ts";

const MAX_CONTAINERS = 256;
const MAX_PORTS = 1024;

export function parsePod(object: unknown): Result<PodInput | undefined> {
  return readObject(object, (root) => {
    const spec = root.at("spec");
    const status = root.at("status");
    const phase = status.at("phase").text({ otherwise: "" });
    if (phase === "Succeeded" || phase === "Failed") return undefined;
    const names = readNames(root);
    const labels = readLabels(root);
    const hostNetwork = spec.at("hostNetwork").flag(false);
    return {
      ...names,
      uid: root.at("metadata").at("uid").text({ maxLength: 128 }),
      // the node's address belongs to every pod on its network: it identifies none
      ip: hostNetwork ? "" : status.at("podIP").text({ otherwise: "", maxLength: 45 }),
      serviceAccount: spec.at("serviceAccountName").text({ otherwise: "default", maxLength: 253 }),
      labels,
      ports: readPorts(spec),
      meshed: entryOf(labels, labelName.injected) === "true",
      ...workloadOf(root, names.name, labels),
      ready: isReady(status),
      terminating: isBeingDeleted(root),
    };
  });
}

/** Of containers and native sidecars (init containers): a named target port may point at either. */
function readPorts(spec: FieldReader): PodInput["ports"] {
  return ["containers", "initContainers"].flatMap((list) =>
    spec
      .at(list)
      .list({ max: MAX_CONTAINERS })
      .flatMap((container) => container.at("ports").list({ max: MAX_PORTS }))
      .filter((port) => typeof port.at("name").raw === "string")
      .map((port) => ({
        name: port.at("name").text({ maxLength: 63 }),
        port: port.at("containerPort").integer({ min: 1, max: 65_535 }),
      })),
  );
}

function isReady(status: FieldReader): boolean {
  return status
    .at("conditions")
    .list({ max: 256 })
    .some((condition) => condition.at("type").raw === "Ready" && condition.at("status").raw === "True");
}

/**
 * The controller that the pod belongs to. A ReplicaSet of a Deployment is named `<deployment>-<pod-template-hash>` and
 * its pods carry that hash as a label (KEP of Deployments v1): the Deployment's name follows without watching ReplicaSets.
 */
export function workloadOf(
  root: FieldReader,
  podName: string,
  labels: Readonly<Record<string, string>>,
): Pick<PodInput, "workloadKind" | "workloadName"> {
  const owner = root
    .at("metadata")
    .at("ownerReferences")
    .list({ max: 64 })
    .find((reference) => reference.at("controller").raw === true);
  if (owner === undefined) return { workloadKind: "Pod", workloadName: podName };
  const kind = owner.at("kind").text({ maxLength: 253 });
  const name = owner.at("name").text({ maxLength: 253 });
  const suffix = `-${entryOf(labels, "pod-template-hash")}`;
  if (kind === "ReplicaSet" && suffix !== "-" && name.endsWith(suffix) && name.length > suffix.length) {
    return { workloadKind: "Deployment", workloadName: name.slice(0, -suffix.length) };
  }
  return { workloadKind: kind, workloadName: name };
}
