// What this member says about one exported Service: its shape and its capacity. Called by exports.ts (to publish) and by
// fleet-union.ts (our own export is one constituent of the fleet's service like any other).
import type { CapacityRecord, PortCapacity, ServiceRecord } from "../../shared/registry.ts";
import type { ExportInput, MeshInputs } from "./inputs.ts";
import { keepList, recall, stage, topic, type Memory } from "./memo.ts";
import { compareObjects, compareText, objectKey, sortedUnique } from "./order.ts";
import { declaredProtocol } from "./protocols.ts";
import { share } from "./sharing.ts";
import type { LocalPort, LocalService } from "./services.ts";

export interface OwnExport {
  readonly exported: ExportInput;
  readonly local: LocalService;
  readonly service: ServiceRecord;
  readonly capacity: CapacityRecord;
}

function serviceRecord(cluster: string, exported: ExportInput, local: LocalService): ServiceRecord {
  const accounts = local.ports.flatMap((port) =>
    port.endpoints.filter(({ meshed }) => meshed).map(({ serviceAccount }) => serviceAccount),
  );
  return {
    kind: "service",
    cluster,
    namespace: exported.namespace,
    name: exported.name,
    exportedAtMs: exported.createdAtMs,
    type: local.service.type === "Headless" ? "Headless" : "ClusterSetIP",
    ports: local.service.ports
      .map((port) => ({
        name: port.name,
        port: port.port,
        protocol: port.protocol,
        appProtocol: declaredProtocol(port),
      }))
      .sort((a, b) => a.port - b.port || compareText(a.protocol, b.protocol)),
    serviceAccounts: sortedUnique(accounts),
  };
}

/** Only meshed endpoints count: the gateway passes mutual TLS through, and nobody else could answer it. */
function capacityOf(port: LocalPort): PortCapacity {
  const meshed = port.endpoints.filter((endpoint) => endpoint.meshed);
  const ready = meshed.filter((endpoint) => endpoint.ready);
  const failing = ready.filter((endpoint) => endpoint.failing === true).length;
  const counted = { port: port.port, ready: ready.length, total: meshed.length };
  return failing === 0 ? counted : { ...counted, failing };
}

function ownExport(cluster: string, exported: ExportInput, local: LocalService): OwnExport {
  const { namespace, name } = exported;
  return {
    exported,
    local,
    service: serviceRecord(cluster, exported, local),
    capacity: { kind: "capacity", cluster, namespace, name, ports: local.ports.map(capacityOf) },
  };
}

/** Equal records stay the same objects: a publisher and the fleet's union see at once that nothing changed. */
function shareRecords(last: OwnExport | undefined, next: OwnExport): OwnExport {
  if (last === undefined) return next;
  return { ...next, service: share(last.service, next.service), capacity: share(last.capacity, next.capacity) };
}

const ownExportTopic = topic<readonly OwnExport[], OwnExport>("own exports");

/** Valid exports by namespace and name: the Service exists, is no ExternalName and not one the agent made for an import. */
export function ownExports(
  memory: Memory,
  inputs: MeshInputs,
  services: readonly LocalService[],
): readonly OwnExport[] {
  const { cluster, exports } = inputs;
  return stage(memory, ownExportTopic, [cluster, exports, services], (table, last) => {
    const byKey = new Map(services.map((local) => [local.key, local]));
    const next = [...exports].sort(compareObjects).flatMap((exported) => {
      const local = byKey.get(objectKey(exported));
      if (local === undefined || local.service.importOf !== "") return [];
      return [
        recall(table, local.key, [cluster, exported, local], (before) =>
          shareRecords(before, ownExport(cluster, exported, local)),
        ),
      ];
    });
    return keepList(last, next);
  });
}
