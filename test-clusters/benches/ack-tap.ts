// Follows the ACKs of proxies as an agent reports them: a cluster's through the API server's pod proxy, a site's at its
// own port. A tap on the stream: the agent stamps an ACK when it arrives, so neither buffering on the way nor a poll is in
// a figure. Called by benches.
import { spawn } from "node:child_process";
import http from "node:http";
import { createInterface } from "node:readline";
import type { Cluster } from "../cluster.ts";

/** A line of /debug/acks. */
export interface AckLine {
  /** ms since 1970 by the machine's clock, which all pods of a fleet on one machine share. */
  readonly atMs: number;
  readonly pod: string;
  readonly resources: readonly { readonly name: string; readonly value?: unknown }[];
}

export interface AckTap {
  /** Rejects when a stream ends before `close`: figures from then on would miss ACKs. */
  readonly broken: Promise<never>;
  close(): void;
}

export type OnAck = (line: AckLine) => void;

export interface TapOptions {
  readonly kubectl: string;
  readonly onAck: OnAck;
}

/** The one agent of a site. */
export function tapSiteAcks(url: string, onAck: OnAck): Promise<AckTap> {
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => undefined); // whoever waits for it is told; nobody may be waiting yet
  let closed = false;
  const end = (cause?: Error) => {
    if (!closed) broken.reject(new Error(`the ACKs at ${url} ended`, { cause }));
  };
  return new Promise((resolve, reject) => {
    const request = http.get(url, (response) => {
      const lines = createInterface({ input: response });
      lines.on("line", (line) => onAck(JSON.parse(line) as AckLine));
      lines.on("error", end); // the response's own errors come out here
      response.on("close", () => end());
      resolve({
        broken: broken.promise,
        close: () => {
          closed = true;
          request.destroy();
        },
      });
    });
    request.on("error", (cause) => {
      if (!closed) reject(new Error(`cannot follow the ACKs at ${url}`, { cause }));
    });
  });
}

const SYSTEM = "isthmus-system";

/** Every agent pod of the cluster: a proxy has its stream with one of them, and no one else knows with which. */
export async function tapEdsAcks(cluster: Cluster, { kubectl, onAck }: TapOptions): Promise<AckTap> {
  const selector = ["-l", "app.kubernetes.io/name=isthmus-agent"];
  const names = ["-o", "jsonpath={.items[*].metadata.name}"];
  const pods = (await cluster.kubectl(["get", "pods", "-n", SYSTEM, ...selector, ...names])).trim().split(" ");
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => undefined); // whoever waits for it is told; nobody may be waiting yet
  let closed = false;
  const children = pods.map((pod) => {
    const path = `/api/v1/namespaces/${SYSTEM}/pods/${pod}:15014/proxy/debug/acks?type=eds`;
    const place = ["--kubeconfig", cluster.kubeconfigPath, "--context", cluster.context];
    const child = spawn(kubectl, [...place, "get", "--raw", path], { stdio: ["ignore", "pipe", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr = (stderr + chunk.toString("utf8")).slice(-1000)));
    createInterface({ input: child.stdout }).on("line", (line) => onAck(JSON.parse(line) as AckLine));
    child.on("error", (cause) => broken.reject(new Error("cannot start kubectl", { cause })));
    child.on("close", () => {
      if (!closed) broken.reject(new Error(`the ACKs of ${cluster.name}/${pod} ended: ${stderr.trim()}`));
    });
    return child;
  });
  return {
    broken: broken.promise,
    close: () => {
      closed = true;
      for (const child of children) child.kill("SIGTERM");
    },
  };
}
