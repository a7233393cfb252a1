// Whether workloads of a namespace may call what is no service of the mesh: OSM's enableEgress, for a member and namespace by namespace.
// It is the caller's namespace that decides, for its sidecar is the one that lets calls out. Called by build.ts; `allowsEgress` by
// whoever asks what it means.
import type { Problem } from "../../shared/result.ts";
import type { MeshInputs } from "./inputs.ts";
import { standingMeshConfig, type MeshConfigs } from "./mesh-config.ts";
import { namespaceSwitch, unreadableWords, type NamespaceSwitch } from "./namespace-switch.ts";
import type { MeshIr } from "./types.ts";

/** On a Namespace, for what is in it; on the agent's own namespace for the whole mesh of this member. */
export const egressAnnotation = "isthmus.dev/egress";

export interface Egress {
  /** Absent: on everywhere. */
  readonly egress?: NamespaceSwitch;
  readonly problems: readonly Problem[];
}

type EgressInputs = Pick<MeshInputs, "egress" | "namespaceEgress"> & MeshConfigs;

/** OSM's word, where there is one: it can be changed while the mesh runs, the configuration cannot. */
function configured(inputs: EgressInputs): boolean {
  return standingMeshConfig(inputs)?.egress ?? inputs.egress ?? true;
}

export function buildEgress(inputs: EgressInputs): Egress {
  const { namespaceEgress = [], systemNamespace } = inputs;
  const words = namespaceEgress.map(({ namespace, egress: word }) => ({ namespace, word }));
  const built = namespaceSwitch(words, systemNamespace, configured(inputs));
  const meaning = "nothing but services of the mesh can be called from it";
  return {
    ...(built.on && built.exceptions.length === 0 ? {} : { egress: built }),
    problems: unreadableWords(words, { code: "ISTHMUS_EGRESS", annotation: egressAnnotation, meaning }),
  };
}

/** Whether workloads of `namespace` may call what is no service of the mesh. */
export function allowsEgress({ egress }: Pick<MeshIr, "egress">, namespace: string): boolean {
  return egress === undefined || egress.on !== egress.exceptions.includes(namespace);
}
