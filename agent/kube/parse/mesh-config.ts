// config.openservicemesh.io MeshConfig (v1alpha2 and v1alpha1 have this part in common) -> MeshConfigInput. Of OSM's fields only
// `spec.traffic.enableEgress` has a meaning here; all others are left alone. OSM knows one object, by its name.
import type { MeshConfigInput } from "../../ir/inputs.ts";
import type { Result } from "../../../shared/result.ts";
import { readObject } from "./field-reader.ts";
import { isBeingDeleted, readNames } from "./metadata.ts";

const theOne = "osm-mesh-config";

export function parseMeshConfig(object: unknown): Result<MeshConfigInput | undefined> {
  return readObject(object, (root) => {
    const names = readNames(root);
    if (names.name !== theOne || isBeingDeleted(root)) return undefined;
    const enableEgress = root.at("spec").map().at("traffic").at("enableEgress");
    return enableEgress.raw === undefined ? names : { ...names, egress: enableEgress.flag(true) };
  });
}
