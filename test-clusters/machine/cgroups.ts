// Control groups of a run, version 1 and 2 behind one noun. Every process of a run is born in the run's cgroup and pods
// live below it, so "all processes of a run" is a question to the kernel, not a list that a crash can leave stale.
//
//   ist-RUN/fleet              helpers, hub, whatever a test starts in a namespace of the run
//   ist-RUN/CLUSTER/system     etcd, API server, containerd and its shims, kubelet, ...
//   ist-RUN/CLUSTER/kubepods   made by the kubelet (cgroupRoot is ist-RUN/CLUSTER)
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const MOUNT = "/sys/fs/cgroup";
const V2_CONTROLLERS = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];
/** The version 1 hierarchies in which the kubelet wants its root to exist. */
const V1_CONTROLLERS = [
  "cpu",
  "cpuacct",
  "cpuset",
  "memory",
  "devices",
  "freezer",
  "blkio",
  "pids",
  "hugetlb",
  "systemd",
];

export interface CgroupLayout {
  readonly version: 1 | 2;
  /** Mounted hierarchies in which groups of a run are made. */
  readonly hierarchies: readonly string[];
  /** Every mounted hierarchy: programs make groups in more than they are asked to (runc in the hybrid's unified one). */
  readonly all: readonly string[];
  /** The one hierarchy whose cgroup.procs name the processes of a run. */
  readonly tracking: string;
}

/** Reads the layout from the text of /proc/mounts: golden-tested for v1, hybrid and v2 machines. */
export function parseCgroupLayout(mounts: string): CgroupLayout | undefined {
  const lines = mounts.split("\n").map((line) => line.split(" "));
  if (lines.some(([, point, type]) => type === "cgroup2" && point === MOUNT))
    return { version: 2, hierarchies: [MOUNT], all: [MOUNT], tracking: MOUNT };
  const v1 = lines.filter(([, point = "", type]) => type === "cgroup" && point.startsWith(`${MOUNT}/`));
  const hierarchies = v1
    .filter(([, , , options = ""]) =>
      options.split(",").some((option) => V1_CONTROLLERS.includes(option.replace(/^name=/, ""))),
    )
    .map(([, point = ""]) => point);
  const tracking = v1.find(([, , , options = ""]) => options.split(",").includes("pids"))?.[1];
  const all = lines
    .filter(([, point = "", type = ""]) => type.startsWith("cgroup") && point.startsWith(`${MOUNT}/`))
    .map(([, point = ""]) => point);
  return tracking === undefined ? undefined : { version: 1, hierarchies, all, tracking };
}

export function cgroupLayout(): CgroupLayout | undefined {
  return parseCgroupLayout(readFileSync("/proc/mounts", "utf8"));
}

async function copyCpuset(dir: string): Promise<void> {
  // v1 starts a cpuset empty, and a process cannot be put into an empty one
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    if (!existsSync(join(dir, file))) return;
    const parent = await readFile(join(dir, "..", file), "utf8");
    if ((await readFile(join(dir, file), "utf8")).trim() === "") await writeFile(join(dir, file), parent);
  }
}

async function delegate(dir: string): Promise<void> {
  const available = (await readFile(join(dir, "cgroup.controllers"), "utf8")).trim().split(" ");
  const wanted = V2_CONTROLLERS.filter((name) => available.includes(name)).map((name) => `+${name}`);
  if (wanted.length > 0) await writeFile(join(dir, "cgroup.subtree_control"), wanted.join(" "));
}

/** Makes the group and its parents in every hierarchy. Parents get no processes of their own (version 2 forbids it). */
export async function makeCgroup(layout: CgroupLayout, path: string, leaf: boolean): Promise<void> {
  const parts = path.split("/");
  for (const hierarchy of layout.hierarchies) {
    let dir = hierarchy;
    for (const [index, part] of parts.entries()) {
      if (layout.version === 2) await delegate(dir);
      dir = join(dir, part);
      await mkdir(dir, { recursive: true });
      if (layout.version === 1) await copyCpuset(dir);
      if (layout.version === 2 && !leaf && index === parts.length - 1) await delegate(dir);
    }
  }
}

export function procsFile(layout: CgroupLayout, path: string): string {
  return join(layout.tracking, path, "cgroup.procs");
}

function subgroups(dir: string): readonly string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(dir, entry.name));
  } catch {
    return []; // removed meanwhile
  }
}

function procsOf(dir: string): readonly number[] {
  try {
    return readFileSync(join(dir, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function tree(dir: string): readonly string[] {
  return [dir, ...subgroups(dir).flatMap(tree)];
}

/** Pids in the group and everything below it. */
export function processesIn(layout: CgroupLayout, path: string): readonly number[] {
  return tree(join(layout.tracking, path)).flatMap(procsOf);
}

/** A frozen process ignores even SIGKILL on version 1, so a paused container would survive the sweep. */
export async function thaw(layout: CgroupLayout, path: string): Promise<void> {
  const freezer = layout.hierarchies.find((hierarchy) => existsSync(join(hierarchy, path, "freezer.state")));
  if (freezer === undefined) return;
  for (const dir of tree(join(freezer, path))) {
    await writeFile(join(dir, "freezer.state"), "THAWED").catch(() => undefined); // the group may be gone by now
  }
}

export function cgroupExists(layout: CgroupLayout, path: string): boolean {
  return layout.all.some((hierarchy) => existsSync(join(hierarchy, path)));
}

/** Removes the empty group and everything below it; throws while a process is left in it. */
export async function removeCgroup(layout: CgroupLayout, path: string): Promise<void> {
  for (const hierarchy of layout.all) {
    for (const dir of [...tree(join(hierarchy, path))].reverse()) {
      if (existsSync(dir)) await rmdir(dir);
    }
  }
}
