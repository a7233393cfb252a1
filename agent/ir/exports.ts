// What this member gives to the fleet: its registry records, and the export ports that its gateway opens.
// Called by the publisher (agent/hub) and by build.ts. A member speaks only for itself: every record carries its own cluster.
import type { GatewayRecord, RegistryRecord } from "../../shared/registry.ts";
import type { MeshInputs } from "./inputs.ts";
import { compareText } from "./order.ts";
import { memoryAfter, recall, stage, topic, type Memory } from "./memo.ts";
import { ownExports, type OwnExport } from "./own-records.ts";
import { localServices, type LocalService } from "./services.ts";
import { outgoingPolicies } from "./replicas.ts";
import { share } from "./sharing.ts";
import type { ExportPortIr } from "./types.ts";

/** Published even when empty: it is also how the others learn that this member exists and may call. */
function gatewayRecord(inputs: MeshInputs): GatewayRecord {
  return {
    kind: "gateway",
    cluster: inputs.cluster,
    addresses: [...inputs.ownGateways].sort((a, b) => compareText(a.host, b.host) || a.port - b.port),
    region: inputs.ownLocality?.region ?? "",
    zone: inputs.ownLocality?.zone ?? "",
  };
}

/** All records of this member: gateway first, then service and capacity of each export by namespace and name, then policy. */
export function selectExports(inputs: MeshInputs): readonly RegistryRecord[] {
  const memory = memoryAfter(inputs);
  const exported = ownExports(memory, inputs, localServices(memory, inputs));
  const services = exported.flatMap(({ service, capacity }) => [service, capacity]);
  return [gatewayRecord(inputs), ...services, ...outgoingPolicies(memory, inputs).records];
}

function exportPortsOf(own: OwnExport): readonly ExportPortIr[] {
  const { namespace, name } = own.exported;
  return own.local.ports.map((port) => ({
    namespace,
    service: name,
    port: port.port,
    endpoints: port.endpoints.filter((endpoint) => endpoint.meshed),
  }));
}

const exportPortsTopic = topic<readonly ExportPortIr[], readonly ExportPortIr[]>("export ports");

/** Exported TCP ports with their meshed pods; a port without any keeps its entry, so that chains do not come and go with pods. */
export function buildExportPorts(
  memory: Memory,
  inputs: MeshInputs,
  services: readonly LocalService[],
): readonly ExportPortIr[] {
  const exported = ownExports(memory, inputs, services);
  return stage(memory, exportPortsTopic, [exported], (table) =>
    exported.flatMap((own) => recall(table, own.local.key, [own], (last) => share(last, exportPortsOf(own)))),
  );
}
