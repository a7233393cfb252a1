// What this replica tells the hub of itself: counts, problems, and what its proxies trust. Read from the levels of the member; it
// decides nothing. Called for each report.
import type { StatusProblem } from "../shared/grpc/fleet-messages.ts";
import type { RegistryRecord } from "../shared/registry.ts";
import type { AgentStatus } from "./hub/report.ts";
import type { MeshInputs } from "./ir/inputs.ts";
import { trustReport, type TrustReportInput } from "./trust-report.ts";

export interface AgentStatusInput extends Omit<TrustReportInput, "pods"> {
  readonly version: string;
  readonly pod: string;
  /** Of the last push; undefined before the first. */
  readonly inputs: MeshInputs | undefined;
  /** Of the other members. */
  readonly records: readonly RegistryRecord[];
  readonly problems: readonly StatusProblem[];
}

export function agentStatus(input: AgentStatusInput): AgentStatus {
  const { version, pod, inputs, records, problems, streams } = input;
  return {
    agentVersion: version,
    pod,
    proxies: streams.filter(({ peer }) => peer.kind === "sidecar").length,
    gatewaysReady: streams.filter(({ peer }) => peer.kind === "gateway").length,
    servicesExported: inputs?.exports.length ?? 0,
    servicesImported: importedServices(records).size,
    problems,
    trust: trustReport({ ...input, pods: inputs?.pods ?? [] }),
  };
}

/** `namespace/name` of each. */
function importedServices(records: readonly RegistryRecord[]): ReadonlySet<string> {
  return new Set(
    records.flatMap((record) => (record.kind === "service" ? [`${record.namespace}/${record.name}`] : [])),
  );
}
