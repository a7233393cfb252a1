// TCPRoute v1alpha1 and v1alpha2 (nothing but a name: every port), v1alpha3 (an empty `spec`), v1alpha4 (ports).
import { fieldOf } from "../kube/json.ts";
import { ok } from "../../shared/result.ts";
import type { Conversion } from "./conversion.ts";
import { isNothing, mapOf, without } from "./fields.ts";

export const tcpRouteConversion: Conversion = {
  up: (_version, { object, kept }) => {
    const { v1alpha4: newest, ...others } = kept;
    const matches = fieldOf(newest, "matches");
    const spec = isNothing(matches) ? mapOf(object["spec"]) : { ...mapOf(object["spec"]), matches };
    return ok({ object: { ...object, spec }, kept: others });
  },
  down: (version, { object, kept }) => {
    const matches = fieldOf(object, "spec", "matches");
    const plain =
      version === "v1alpha3" ? { ...object, spec: without(mapOf(object["spec"]), "matches") } : without(object, "spec");
    return { object: plain, kept: isNothing(matches) ? kept : { ...kept, v1alpha4: { matches } } };
  },
};
