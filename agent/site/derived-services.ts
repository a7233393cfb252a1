// The Services that stand for imports, as the leader in Kubernetes makes them (agent/kube/service-imports.ts): `isthmus-<name>`
// with the import's ports. Nothing is taken away while the hub is away: an exporter we cannot hear of is not an exporter gone.
import type { Problem } from "../../shared/result.ts";
import { derivedServiceName } from "../ir/imports.ts";
import type { ServiceInput } from "../ir/inputs.ts";
import { shareList } from "../ir/sharing.ts";
import type { ServiceImportIr } from "../ir/types.ts";

export function derivedServices(
  imports: readonly ServiceImportIr[],
  hubConnected: boolean,
  last: readonly ServiceInput[],
): readonly ServiceInput[] {
  const wanted = imports.filter(({ type }) => type === "ClusterSetIP").map(derivedService);
  const names = new Set(wanted.map((service) => service.importOf));
  const kept = hubConnected ? [] : last.filter((service) => !names.has(service.importOf));
  return shareList(last, [...wanted, ...kept], (service) => service.importOf);
}

function derivedService({ namespace, name, ports }: ServiceImportIr): ServiceInput {
  return {
    namespace,
    name: derivedServiceName(name),
    clusterIps: [],
    type: "ClusterIP",
    selector: {},
    ports: ports.map((port) => ({ ...port, targetPort: port.port })),
    importOf: `${namespace}/${name}`,
  };
}

/** A Service of a manifest that has the name of one of ours would be two in one. */
export function foreignServices(
  derived: readonly ServiceInput[],
  declared: readonly ServiceInput[],
): { readonly usable: readonly ServiceInput[]; readonly problems: readonly Problem[] } {
  const taken = new Set(declared.map(({ namespace, name }) => `${namespace}/${name}`));
  const foreign = derived.filter(({ namespace, name }) => taken.has(`${namespace}/${name}`));
  const problems = foreign.map(({ namespace, name, importOf }) => ({
    code: "ISTHMUS_IMPORT_FOREIGN",
    message: `the import of ${importOf} needs this name: rename the Service`,
    object: { kind: "Service", namespace, name },
  }));
  return { usable: foreign.length === 0 ? derived : derived.filter((each) => !foreign.includes(each)), problems };
}
