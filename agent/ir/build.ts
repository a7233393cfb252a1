// buildIr: everything the agent knows, turned into what the mesh means. Called on every change by agent/main.ts, always
// with the whole of the inputs; results of unchanged records are remembered, so the cost is that of the change.
// It must never fail: what cannot be understood becomes a Problem on its object, and the rest of the mesh does not notice.
import { trustDomainOf } from "../../shared/ids.ts";
import type { Problem } from "../../shared/result.ts";
import { missingAccounts } from "./accounts.ts";
import { buildEgress } from "./egress.ts";
import { buildExportPorts } from "./exports.ts";
import { sortedFleets, unknownFleets } from "./foreign-fleets.ts";
import { fleetServices } from "./imports.ts";
import type { MeshInputs } from "./inputs.ts";
import { keepMemory, memoryAfter } from "./memo.ts";
import { meshConfigProblems } from "./mesh-config.ts";
import { buildModes } from "./modes.ts";
import { compareText, sortedUnique } from "./order.ts";
import { buildPeers } from "./peers.ts";
import { buildGrants } from "./permissions.ts";
import { buildSplits } from "./splits.ts";
import { checkServerFirst, localServices, type LocalService } from "./services.ts";
import { outgoingPolicies, replicaProblems } from "./replicas.ts";
import { share, shareList } from "./sharing.ts";
import type { MeshIr, ServiceIr } from "./types.ts";
import { buildWorkloads } from "./workloads.ts";

export interface BuiltIr {
  readonly ir: MeshIr;
  readonly problems: readonly Problem[];
}

function clusterServices(inputs: MeshInputs, services: readonly LocalService[]): readonly ServiceIr[] {
  const namespaces = new Set(inputs.meshNamespaces);
  return services.flatMap(({ ir }) => (ir !== undefined && namespaces.has(ir.namespace) ? [ir] : []));
}

/** Parts deep-equal to those of `previous` are the same objects again; `previous` never changes a value. */
function shareIr(previous: MeshIr | undefined, next: MeshIr): MeshIr {
  if (previous === undefined) return next;
  const shared: MeshIr = {
    ...next,
    services: shareList(previous.services, next.services, (service) => service.key),
    grants: shareList(previous.grants, next.grants, ({ origin }) => `${origin.namespace}/${origin.name}`),
    splits: shareList(previous.splits, next.splits, (split) => split.root),
    workloads: shareList(previous.workloads, next.workloads, (workload) => `${workload.namespace}/${workload.podName}`),
    exportPorts: shareList(
      previous.exportPorts,
      next.exportPorts,
      (port) => `${port.namespace}/${port.service}/${port.port}`,
    ),
    peers: shareList(previous.peers, next.peers, (peer) => peer.cluster),
    revokedTrustDomains: share(previous.revokedTrustDomains, next.revokedTrustDomains),
    ...(next.foreignFleets === undefined ? {} : { foreignFleets: share(previous.foreignFleets, next.foreignFleets) }),
    ...(next.gatewayBind === undefined ? {} : { gatewayBind: share(previous.gatewayBind, next.gatewayBind) }),
    ...(next.modeExceptions === undefined
      ? {}
      : { modeExceptions: share(previous.modeExceptions, next.modeExceptions) }),
    ...(next.egress === undefined ? {} : { egress: share(previous.egress, next.egress) }),
  };
  // a field that is gone is a change too
  const fields = Object.keys({ ...previous, ...shared }) as (keyof MeshIr)[];
  return fields.every((field) => shared[field] === previous[field]) ? previous : shared;
}

function compareProblems(a: Problem, b: Problem): number {
  return compareText(sortKey(a), sortKey(b));
}

function sortKey({ object, field, code, message }: Problem): string {
  return [object?.kind, object?.namespace, object?.name, field, code, message].map((part) => part ?? "").join("\u0000");
}

export function buildIr(inputs: MeshInputs, previous?: MeshIr): BuiltIr {
  const memory = memoryAfter(previous, inputs);
  const local = localServices(memory, inputs);
  const cluster = clusterServices(inputs, local);
  const fleet = fleetServices(memory, inputs, local);
  const { workloads, problems: portProblems } = buildWorkloads(memory, inputs, local);
  const { grants, problems: grantProblems } = buildGrants(memory, inputs);
  const { peers, problems: peerProblems } = buildPeers(memory, inputs);
  const services = [...cluster, ...fleet.services];
  const { splits, problems: splitProblems } = buildSplits(inputs, services);
  const { foreignFleets = [] } = inputs;
  const { problems: modeProblems, ...modes } = buildModes(inputs);
  const { problems: egressProblems, ...egress } = buildEgress(inputs);
  const ir: MeshIr = {
    fleetDomain: inputs.fleetDomain,
    cluster: inputs.cluster,
    trustDomain: trustDomainOf(inputs.cluster, inputs.fleetDomain),
    ...modes,
    ...egress,
    services,
    grants,
    splits,
    workloads,
    exportPorts: buildExportPorts(memory, inputs, local),
    peers,
    revokedTrustDomains: sortedUnique(inputs.revokedTrustDomains),
    ...(foreignFleets.length === 0 ? {} : { foreignFleets: sortedFleets(foreignFleets) }),
    ...(inputs.gatewayBind === undefined ? {} : { gatewayBind: inputs.gatewayBind }),
  };
  const problems = [
    ...fleet.problems,
    ...portProblems,
    ...grantProblems,
    ...splitProblems,
    ...peerProblems,
    ...modeProblems,
    ...egressProblems,
    ...meshConfigProblems(inputs),
    ...missingAccounts(memory, inputs),
    ...outgoingPolicies(memory, inputs).problems,
    ...replicaProblems(inputs),
    ...unknownFleets(memory, inputs),
    ...local.flatMap((service) => service.problems),
    ...checkServerFirst(services),
  ];
  const shared = shareIr(previous, ir);
  keepMemory(memory, shared);
  keepMemory(memory, inputs);
  return { ir: shared, problems: problems.sort(compareProblems) };
}
