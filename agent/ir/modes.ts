// Permissive mode, mesh by mesh and namespace by namespace: whether a workload takes calls that no TrafficTarget grants. It is the
// server's namespace that decides, whoever calls. Called by build.ts; `isPermissive` by whoever asks what a mode means.
import type { Problem } from "../../shared/result.ts";
import type { MeshInputs } from "./inputs.ts";
import { standingMeshConfig, type MeshConfigs } from "./mesh-config.ts";
import { namespaceSwitch, unreadableWords } from "./namespace-switch.ts";
import type { MeshIr } from "./types.ts";

/** On a Namespace, for what is in it; on the agent's own namespace for the whole mesh of this member. */
export const permissiveAnnotation = "isthmus.dev/permissive";

export interface Modes {
  readonly permissive: boolean;
  readonly modeExceptions?: readonly string[];
  readonly problems: readonly Problem[];
}

/** OSM's word, where there is one, goes before the configuration's: it can be changed while the mesh runs. */
export function buildModes(inputs: Pick<MeshInputs, "permissive" | "namespaceModes"> & MeshConfigs): Modes {
  const { namespaceModes = [], systemNamespace } = inputs;
  const words = namespaceModes.map(({ namespace, permissive }) => ({ namespace, word: permissive }));
  const { on, exceptions } = namespaceSwitch(
    words,
    systemNamespace,
    standingMeshConfig(inputs)?.permissive ?? inputs.permissive,
  );
  const meaning = "calls need a TrafficTarget";
  return {
    permissive: on,
    ...(exceptions.length === 0 ? {} : { modeExceptions: exceptions }),
    problems: unreadableWords(words, { code: "ISTHMUS_PERMISSIVE", annotation: permissiveAnnotation, meaning }),
  };
}

/** Whether workloads of `namespace` take calls without a grant. */
export function isPermissive(ir: Pick<MeshIr, "permissive" | "modeExceptions">, namespace: string): boolean {
  return ir.permissive !== (ir.modeExceptions?.includes(namespace) ?? false);
}
