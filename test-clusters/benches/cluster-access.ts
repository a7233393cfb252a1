// A kept-alive client for a cluster of a running fleet, from its kubeconfig: a write then costs what it costs a
// controller, not a kubectl start. Called by benches.
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import type { Cluster } from "../cluster.ts";
import { kubeClient, type KubeClient } from "../kube-client.ts";

interface Kubeconfig {
  readonly clusters: readonly { readonly name: string; readonly cluster: Readonly<Record<string, string>> }[];
  readonly users: readonly { readonly name: string; readonly user: Readonly<Record<string, string>> }[];
}

export async function clusterClient({ name, server, kubeconfigPath }: Cluster): Promise<KubeClient> {
  const { clusters, users } = parse(await readFile(kubeconfigPath, "utf8")) as Kubeconfig;
  const cluster = clusters.find((entry) => entry.name === name)?.cluster ?? {};
  const user = users.find((entry) => entry.name === name)?.user ?? {};
  const pem = (from: Readonly<Record<string, string>>, key: string) =>
    Buffer.from(from[key] ?? "", "base64").toString("utf8");
  return kubeClient({
    server,
    caPem: pem(cluster, "certificate-authority-data"),
    user: { certPem: pem(user, "client-certificate-data"), keyPem: pem(user, "client-key-data") },
  });
}
