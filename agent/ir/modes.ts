// Permissive mode, mesh by mesh and namespace by namespace: whether a workload takes calls that no TrafficTarget grants. It is the
// server's namespace that decides, whoever calls. Called by build.ts; `isPermissive` by whoever asks what a mode means.
// It must fail closed: a word that is neither "true" nor "false" is no permission.
import type { Problem } from "../../shared/result.ts";
import type { MeshInputs, NamespaceModeInput } from "./inputs.ts";
import { sortedUnique } from "./order.ts";
import type { MeshIr } from "./types.ts";

/** On a Namespace, for what is in it; on the agent's own namespace for the whole mesh of this member. */
export const permissiveAnnotation = "isthmus.dev/permissive";

export interface Modes {
  readonly permissive: boolean;
  readonly modeExceptions?: readonly string[];
  readonly problems: readonly Problem[];
}

function unreadable({ namespace, permissive }: NamespaceModeInput): readonly Problem[] {
  if (permissive === "true" || permissive === "false") return [];
  const message = `"${permissive.slice(0, 64)}" is neither "true" nor "false": it counts as "false", calls need a TrafficTarget`;
  const object = { kind: "Namespace", name: namespace };
  return [{ code: "ISTHMUS_PERMISSIVE", message, object, field: `metadata.annotations[${permissiveAnnotation}]` }];
}

/** The namespace's own word counts first, then that on the agent's namespace, then the configuration. */
export function buildModes(inputs: Pick<MeshInputs, "permissive" | "namespaceModes" | "systemNamespace">): Modes {
  const { namespaceModes = [], systemNamespace } = inputs;
  const whole = namespaceModes.find(({ namespace }) => namespace === systemNamespace);
  const permissive = whole === undefined ? inputs.permissive : whole.permissive === "true";
  const others = namespaceModes.filter((mode) => (mode.permissive === "true") !== permissive);
  const exceptions = sortedUnique(others.map(({ namespace }) => namespace));
  return {
    permissive,
    ...(exceptions.length === 0 ? {} : { modeExceptions: exceptions }),
    problems: namespaceModes.flatMap(unreadable),
  };
}

/** Whether workloads of `namespace` take calls without a grant. */
export function isPermissive(ir: Pick<MeshIr, "permissive" | "modeExceptions">, namespace: string): boolean {
  return ir.permissive !== (ir.modeExceptions?.includes(namespace) ?? false);
}
