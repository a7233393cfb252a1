// OSM's MeshConfig: which one speaks for this member, and what of it is not heard. Called by modes, egress and build, and by the
// injector. It may switch every check of a member off, so it counts only where those who run the mesh write.
import type { Problem } from "../../shared/result.ts";
import type { MeshConfigInput, MeshInputs } from "./inputs.ts";

/** Where OSM's installation puts it. */
const osmNamespace = "osm-system";

export type MeshConfigs = Pick<MeshInputs, "meshConfigs" | "systemNamespace">;

/** The one in the agent's namespace goes before OSM's own. */
export function standingMeshConfig({ meshConfigs = [], systemNamespace }: MeshConfigs): MeshConfigInput | undefined {
  const inNamespace = (wanted: string | undefined) => meshConfigs.find(({ namespace }) => namespace === wanted);
  return inNamespace(systemNamespace) ?? inNamespace(osmNamespace);
}

export function meshConfigProblems(inputs: MeshConfigs): readonly Problem[] {
  const standing = standingMeshConfig(inputs);
  return (inputs.meshConfigs ?? []).flatMap((config) => {
    const object = { kind: "MeshConfig", namespace: config.namespace, name: config.name };
    if (config !== standing)
      return [{ code: "ISTHMUS_MESH_CONFIG_PLACE", message: notHeard(standing, inputs), object }];
    return config.unmet.map((field) => ({ code: "ISTHMUS_MESH_CONFIG_FIELD", message: unmet, object, field }));
  });
}

const unmet = "Isthmus has nothing of the kind: it is not done, here or elsewhere, until the field is taken away";

function notHeard(standing: MeshConfigInput | undefined, { systemNamespace }: MeshConfigs): string {
  const places = systemNamespace === undefined ? osmNamespace : `${systemNamespace}, else ${osmNamespace}`;
  const instead = standing === undefined ? "none counts" : `the one in ${standing.namespace} counts`;
  return `a MeshConfig is for the whole mesh and counts in ${places} only; ${instead}`;
}
