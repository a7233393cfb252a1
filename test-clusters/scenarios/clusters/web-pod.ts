// A pod that says in which cluster it is, behind a load balancer; and what is seen from inside of it.
import { stringify } from "yaml";
import type { Cluster } from "../../fleet.ts";
import { until } from "../../stage/until.ts";

const server = `require("http").createServer((q, s) => s.end(process.env.WHO)).listen(8080)`;
const node = "/usr/local/bin/node";

export function webObjects(image: string, who: string): string {
  const selector = { app: "web" };
  const service = (name: string, type: string) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { type, selector, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web-pod", labels: selector },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [{ name: "web", image, command: [node, "-e", server], env: [{ name: "WHO", value: who }] }],
    },
  };
  return [pod, service("web", "LoadBalancer"), service("isthmus-far", "ClusterIP")]
    .map((o) => stringify(o))
    .join("---\n");
}

/** The body a pod of the cluster gets from the address, or the code of the error. */
export async function fetchFrom(cluster: Cluster, url: string, timeoutMs = 15_000): Promise<string> {
  const program = `fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(${timeoutMs}) })
    .then((r) => r.text(), (e) => e.cause?.code ?? e.name).then((t) => process.stdout.write(t, () => process.exit()))`;
  return cluster.kubectl(["exec", "web-pod", "--", node, "-e", program]);
}

export async function balancerOf(cluster: Cluster): Promise<string> {
  return until(`a load balancer address in ${cluster.name}`, 60_000, async () => {
    const ip = await cluster.kubectl(["get", "service", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"]);
    return ip === "" ? undefined : ip;
  });
}
