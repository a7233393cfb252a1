// What a pod may not have beside the sidecar: its user, its ports, its names. Said at admission, with the field to mend, rather than
// by a crash loop. Called by decide.ts.
import type { Problem } from "../../shared/result.ts";
import type { ContainerFacts, PodFacts } from "./pod.ts";
import { initContainer, proxyContainer, proxyPorts, proxyUid } from "./settings.ts";
import { sidecarVolumeNames } from "./sidecar.ts";

const ownNames: readonly string[] = [proxyContainer, initContainer];
const { outbound, inbound, admin, readiness, metrics, firstProbe, lastProbe } = proxyPorts;
const ownPorts: readonly number[] = [outbound, inbound, admin, readiness, metrics];
const asProxy = `runs as user ${proxyUid}, whose traffic is never redirected: choose another runAsUser`;

function isOwnPort(port: number): boolean {
  return ownPorts.includes(port) || (port >= firstProbe && port <= lastProbe);
}

function checkContainer({ name, runAsUser, ports }: ContainerFacts): readonly Problem[] {
  const problem = (code: string, message: string): Problem => ({ code, message, field: "spec.containers" });
  const problems = ports
    .filter(({ port }) => isOwnPort(port))
    .map(({ port }) => problem("ISTHMUS_PORT_RESERVED", `port ${port} of container "${name}" belongs to the sidecar`));
  if (runAsUser === proxyUid) problems.push(problem("ISTHMUS_USER_RESERVED", `container "${name}" ${asProxy}`));
  if (ownNames.includes(name)) {
    problems.push(problem("ISTHMUS_NAME_RESERVED", `container name "${name}" belongs to the mesh`));
  }
  return problems;
}

export function checkPod(pod: PodFacts): readonly Problem[] {
  const problem = (code: string, field: string, message: string): Problem => ({ code, message, field });
  return [
    ...(pod.runAsUser === proxyUid
      ? [problem("ISTHMUS_USER_RESERVED", "spec.securityContext", `the pod ${asProxy}`)]
      : []),
    ...[...pod.initContainers, ...pod.containers].flatMap(checkContainer),
    ...pod.volumeNames
      .filter((name) => sidecarVolumeNames.includes(name))
      .map((name) => problem("ISTHMUS_NAME_RESERVED", "spec.volumes", `volume name "${name}" belongs to the mesh`)),
  ];
}
