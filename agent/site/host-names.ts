// The names that a site's services have for one workload, as hosts(5): each service's address lies in the workload's own block. Kept by
// the agent in the workload's credential folder, and answered from there by the DNS beside the workload (cli/dns). Pure.
import type { BoundInput, ServiceInput } from "../ir/inputs.ts";
import { addressInBlock } from "../xds/loopback.ts";
import { remembered } from "../xds/remembered.ts";

const header = "# The services of this site for one workload of it. Written by the site's agent.\n";

/** Empty where there are no loopback addresses. */
export function hostsText(services: readonly ServiceInput[], { loopback }: BoundInput, namespace: string): string {
  if (loopback.blockStart === "") return "";
  return remembered(services, `hosts|${loopback.rangeStart}|${loopback.blockStart}|${namespace}`, () => {
    const lines = services.flatMap((service) => {
      const names = namesOf(service, namespace).join(" ");
      return service.clusterIps.flatMap((clusterIp) => {
        const address = addressInBlock(clusterIp, loopback);
        return address === undefined ? [] : [`${address} ${names}\n`];
      });
    });
    return header + lines.sort().join("");
  });
}

/** As a pod of the namespace would look it up; an import has no short name (KEP-1645). */
function namesOf({ namespace, name, importOf }: ServiceInput, callerNamespace: string): readonly string[] {
  if (importOf !== "") {
    const [importNamespace = "", importName = ""] = importOf.split("/");
    return [`${importName}.${importNamespace}.svc.clusterset.local`];
  }
  const short = `${name}.${namespace}`;
  return [`${short}.svc.cluster.local`, `${short}.svc`, short, ...(namespace === callerNamespace ? [name] : [])];
}
