// What a ServiceExport's author reads on it: Valid, Ready and Conflict with the reasons of the MCS API (v1beta1), as plain data.
// Called by the status writer, which adds times and generation. A conflict is shown on every constituent (KEP-1645), so each
// member computes it from the same records and shows it on its own.
import { recordKey } from "../../shared/registry.ts";
import type { Problem } from "../../shared/result.ts";
import { fleetUnions, type FleetUnion } from "./fleet-union.ts";
import type { ExportInput, MeshInputs, ServiceInput } from "./inputs.ts";
import { memoryAfter } from "./memo.ts";
import { compareObjects, objectKey, sortedUnique } from "./order.ts";
import { ownExports, type OwnExport } from "./own-records.ts";
import { localServices } from "./services.ts";

export interface ExportCondition {
  readonly type: "Valid" | "Ready" | "Conflict";
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

export interface ExportStatus {
  readonly namespace: string;
  readonly name: string;
  readonly conditions: readonly ExportCondition[];
}

function condition(
  type: ExportCondition["type"],
  status: ExportCondition["status"],
  reason: string,
  message = "",
): ExportCondition {
  return { type, status, reason, message };
}

function validity(exported: ExportInput, service: ServiceInput | undefined): ExportCondition {
  if (service === undefined) {
    return condition("Valid", "False", "NoService", `there is no Service ${exported.name} in this namespace`);
  }
  if (service.type === "ExternalName") {
    return condition("Valid", "False", "InvalidServiceType", "a Service of type ExternalName cannot be exported");
  }
  if (service.importOf !== "") {
    return condition(
      "Valid",
      "False",
      "InvalidServiceType",
      `this Service was made for the import of ${service.importOf}`,
    );
  }
  return condition("Valid", "True", "Valid");
}

/** What the hub has said of our records. */
export interface HubWord {
  /** Keys of the records that it has confirmed. */
  readonly acknowledged: ReadonlySet<string>;
  readonly refused: readonly Problem[];
}

function readiness(own: OwnExport | undefined, { acknowledged, refused }: HubWord): ExportCondition {
  if (own === undefined) return condition("Ready", "False", "Failed", "nothing is exported: see condition Valid");
  const { namespace, name } = own.exported;
  const refusal = refused.find(
    ({ object }) => object?.kind === "ServiceExport" && object.namespace === namespace && object.name === name,
  );
  if (refusal !== undefined) return condition("Ready", "False", "Refused", `${refusal.message} (${refusal.code})`);
  if (!acknowledged.has(recordKey(own.service))) {
    return condition("Ready", "False", "Pending", "the hub has not confirmed it yet");
  }
  const meshed = own.capacity.ports.some((port) => port.total > 0);
  const message = meshed ? "" : "exported, but no pod with a sidecar is behind it: other members cannot call it yet";
  return condition("Ready", "True", "Exported", message);
}

function conflicts(union: FleetUnion | undefined): ExportCondition {
  if (union === undefined || union.conflicts.length === 0) return condition("Conflict", "False", "NoConflicts");
  const reasons = sortedUnique(union.conflicts.map((conflict) => conflict.reason)).join(",");
  return condition("Conflict", "True", reasons, union.conflicts.map((conflict) => conflict.message).join("; "));
}

export function exportConditions(inputs: MeshInputs, hub: HubWord): readonly ExportStatus[] {
  const memory = memoryAfter(inputs);
  const locals = localServices(memory, inputs);
  const services = new Map(inputs.services.map((service) => [objectKey(service), service]));
  const own = new Map(ownExports(memory, inputs, locals).map((each) => [objectKey(each.exported), each]));
  const unions = new Map(fleetUnions(memory, inputs, locals).map((union) => [union.key, union]));
  return [...inputs.exports].sort(compareObjects).map((exported) => {
    const key = objectKey(exported);
    const valid = validity(exported, services.get(key));
    const ready = readiness(own.get(key), hub);
    const { namespace, name } = exported;
    if (valid.status === "False") return { namespace, name, conditions: [valid, ready] };
    return { namespace, name, conditions: [valid, ready, conflicts(unions.get(key))] };
  });
}
