// Where a run keeps things. Everything is derived from the run's name, so that the sweep of a run that was killed at any
// moment knows where to look even if the record was never finished.
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { cacheRoot } from "../../shared/programs/cache.ts";

/** Volatile part: records, sockets, pinned network namespaces. Gone after a boot, like what it describes. */
export const RUNTIME_ROOT = "/run/isthmus";

export interface RunPaths {
  readonly runId: string;
  readonly runtime: string;
  /** Bulky part; on the cache's file system, because image layers are hard links into the cache. */
  readonly home: string;
  readonly record: string;
  readonly processes: string;
  readonly kubeconfig: string;
  readonly logs: string;
  /** Name of the run's cgroup in every hierarchy. */
  readonly cgroup: string;
  /** The host's end of the link into the run's network. */
  readonly hostInterface: string;
}

/** 11 characters, because "ist-" and the name make the name of an interface (15 at most). */
const RUN_ID = /^[a-z]([a-z0-9-]{0,9}[a-z0-9])?$/;
const CLUSTER_NAME = /^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$/;

export function checkRunId(runId: string): string {
  if (RUN_ID.test(runId)) return runId;
  throw new UserError("ISTHMUS_CLUSTERS_BAD_NAME", `"${runId}" is no run name`, {
    hint: "use up to 11 lower-case letters, digits and dashes, beginning with a letter",
  });
}

export function checkClusterNames(names: readonly string[]): readonly string[] {
  const reserved = ["hub", "host", "fabric", "fleet"];
  for (const name of names) {
    if (!CLUSTER_NAME.test(name) || reserved.includes(name))
      throw new UserError("ISTHMUS_CLUSTERS_BAD_NAME", `"${name}" is no cluster name`, {
        hint: `use a DNS label of up to 30 characters that is none of ${reserved.join(", ")}`,
      });
  }
  if (new Set(names).size !== names.length)
    throw new UserError("ISTHMUS_CLUSTERS_BAD_NAME", `a cluster is named twice in ${names.join(", ")}`);
  if (names.length === 0) throw new UserError("ISTHMUS_CLUSTERS_BAD_NAME", "no cluster is named");
  return names;
}

export function runPaths(runId: string, home: string = join(cacheRoot(), "runs", runId)): RunPaths {
  const runtime = join(RUNTIME_ROOT, runId);
  return {
    runId,
    runtime,
    home,
    record: join(runtime, "run.json"),
    processes: join(runtime, "processes"),
    kubeconfig: join(home, "kubeconfig"),
    logs: join(home, "logs"),
    cgroup: `ist-${runId}`,
    hostInterface: `ist-${runId}`,
  };
}

/** File that pins a network namespace of the run; what `nsenter --net=` takes. */
export function netnsPath(paths: RunPaths, name: string): string {
  return join(paths.runtime, "net", name);
}

export interface ClusterPaths {
  readonly home: string;
  readonly runtime: string;
  readonly socket: string;
  readonly kubeconfig: string;
  readonly pki: string;
  readonly containerdRoot: string;
}

export function clusterPaths(paths: RunPaths, cluster: string): ClusterPaths {
  const home = join(paths.home, cluster);
  const runtime = join(paths.runtime, cluster);
  return {
    home,
    runtime,
    socket: join(runtime, "containerd.sock"),
    kubeconfig: join(home, "admin.kubeconfig"),
    pki: join(home, "pki"),
    containerdRoot: join(home, "containerd"),
  };
}
