// Takes a run away completely: processes, mounts, namespaces, the host's link, files, cgroups. Level-triggered: it looks
// at what is there and needs nothing to be in order, so it serves `down`, Ctrl-C, and runs whose owner was killed.
import { existsSync } from "node:fs";
import { readdir, readFile, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { cgroupExists, cgroupLayout, processesIn, removeCgroup, thaw, type CgroupLayout } from "../machine/cgroups.ts";
import { runCommand } from "../machine/command.ts";
import { signalPid } from "../machine/proc.ts";
import { RUNTIME_ROOT, runPaths, type RunPaths } from "./paths.ts";
import { pause } from "./processes.ts";
import { knownRuns, readRecord } from "./record.ts";

const KILL_MS = 30_000;

/** Ends every process of the run. Those that are being born while we look are met in the next round. */
async function killAll(layout: CgroupLayout, paths: RunPaths): Promise<void> {
  const deadline = performance.now() + KILL_MS;
  await thaw(layout, paths.cgroup);
  for (;;) {
    const pids = processesIn(layout, paths.cgroup);
    if (pids.length === 0) return;
    if (performance.now() > deadline) throw new Error(`processes ${pids.join(", ")} of run ${paths.runId} do not end`);
    for (const pid of pids) signalPid(pid, "SIGKILL");
    await pause(20);
  }
}

/** Mount points below the folder, deepest first, from the text of /proc/self/mountinfo (field 5, octal escapes). */
export function mountsBelow(mountinfo: string, folder: string): readonly string[] {
  return mountinfo
    .split("\n")
    .map((line) =>
      (line.split(" ")[4] ?? "").replace(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8))),
    )
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length);
}

async function unmountBelow(folder: string): Promise<void> {
  for (const point of mountsBelow(await readFile("/proc/self/mountinfo", "utf8"), folder)) {
    await runCommand("umount", ["--lazy", point]);
  }
}

async function removeLink(name: string): Promise<void> {
  if (existsSync(`/sys/class/net/${name}`)) {
    // it may vanish on its own just now, with the namespace of its other end
    await runCommand("ip", ["link", "delete", name]).catch((error: unknown) => {
      if (existsSync(`/sys/class/net/${name}`)) throw error;
    });
  }
}

async function removeIfEmpty(folder: string): Promise<void> {
  const left = await readdir(folder).catch(() => undefined);
  if (left?.length === 0) await rmdir(folder).catch(() => undefined); // a new run may have moved in
}

/** Removes all that the run has made. Safe to repeat, and to call for a name that never was a run. */
export async function sweep(runId: string): Promise<void> {
  const record = await readRecord(runId);
  const paths = runPaths(runId, record?.home);
  const layout = cgroupLayout();
  if (layout !== undefined) await killAll(layout, paths);
  await unmountBelow(paths.runtime);
  await unmountBelow(paths.home);
  await removeLink(paths.hostInterface);
  const children = await readdir(paths.home).catch(() => []);
  await Promise.all(children.map((child) => rm(join(paths.home, child), { recursive: true, force: true })));
  await rm(paths.home, { recursive: true, force: true });
  if (layout !== undefined && cgroupExists(layout, paths.cgroup)) await removeCgroup(layout, paths.cgroup);
  // last: until here a second sweep finds the record again
  await rm(paths.runtime, { recursive: true, force: true });
  await removeIfEmpty(join(paths.home, ".."));
  await removeIfEmpty(RUNTIME_ROOT);
}

/** Sweeps every run that nobody will bring down; their names. */
export async function sweepAbandoned(): Promise<readonly string[]> {
  const abandoned = (await knownRuns()).filter((run) => run.abandoned).map((run) => run.runId);
  for (const runId of abandoned) await sweep(runId);
  return abandoned;
}
