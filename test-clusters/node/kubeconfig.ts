// Kubeconfig files as text. Certificates are inside, so that a file can be copied and read by any client. Pure.
import { stringify } from "yaml";
import type { KeyPair } from "./pki.ts";

export interface KubeUser {
  readonly cluster: string;
  readonly server: string;
  readonly caPem: string;
  readonly user: KeyPair;
}

const base64 = (text: string) => Buffer.from(text).toString("base64");

/** One context per cluster, named exactly as the cluster; the first is current. */
export function kubeconfig(entries: readonly KubeUser[]): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: entries.map((entry) => ({
      name: entry.cluster,
      cluster: { server: entry.server, "certificate-authority-data": base64(entry.caPem) },
    })),
    users: entries.map((entry) => ({
      name: entry.cluster,
      user: {
        "client-certificate-data": base64(entry.user.certPem),
        "client-key-data": base64(entry.user.keyPem),
      },
    })),
    contexts: entries.map((entry) => ({
      name: entry.cluster,
      context: { cluster: entry.cluster, user: entry.cluster },
    })),
    "current-context": entries[0]?.cluster ?? "",
  });
}
