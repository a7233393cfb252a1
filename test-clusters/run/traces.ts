// Everything on this machine that bears the name of a run: what must be empty after a run is gone. Used by the tests that
// prove it; sweep.ts does not use it, so that a thing the sweep forgets is not forgotten here too.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cacheRoot } from "../../shared/programs/cache.ts";
import { runCommand } from "../machine/command.ts";

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // a process that has just ended
  }
}

/** Processes by command line, environment-independent; zombies are over and only wait for their parent. */
function processes(runId: string): readonly string[] {
  const marks = [`/run/isthmus/${runId}/`, `/runs/${runId}/`, `ist-${runId}/`];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .filter((pid) => !read(`/proc/${pid}/stat`).includes(") Z "))
    .filter((pid) => {
      const text = read(`/proc/${pid}/cmdline`) + read(`/proc/${pid}/cgroup`);
      return marks.some((mark) => text.includes(mark));
    })
    .map((pid) => `process ${pid}: ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").slice(0, 120)}`);
}

function cgroups(runId: string): readonly string[] {
  const points = read("/proc/mounts")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, , type = ""]) => type.startsWith("cgroup"))
    .map(([, point = ""]) => join(point, `ist-${runId}`));
  return points.filter((path) => existsSync(path)).map((path) => `cgroup ${path}`);
}

/** Folders that the programs of a node make under fixed names when nothing keeps them from it. */
const fixedFolders = ["/var/lib/kubelet", "/var/log/pods", "/var/log/containers", "/var/lib/cni", "/run/netns"];

/** Which of those exist; compare before and after. */
export function fixedFoldersPresent(): readonly string[] {
  return fixedFolders.filter((folder) => existsSync(folder));
}

export async function tracesOf(runId: string): Promise<readonly string[]> {
  const mounts = read("/proc/self/mountinfo")
    .split("\n")
    .filter((line) => line.includes(`/isthmus/${runId}`) || line.includes(`/runs/${runId}`))
    .map((line) => `mount ${line}`);
  const folders = [`/run/isthmus/${runId}`, join(cacheRoot(), "runs", runId)].filter((path) => existsSync(path));
  const links = (await runCommand("ip", ["-oneline", "link"]))
    .split("\n")
    .filter((line) => line.includes(`ist-${runId}`));
  const routes = (await runCommand("ip", ["route", "show", "table", "all"]))
    .split("\n")
    .filter((line) => line.includes(`ist-${runId}`));
  return [
    ...processes(runId),
    ...cgroups(runId),
    ...mounts,
    ...folders.map((path) => `folder ${path}`),
    ...links.map((line) => `link ${line}`),
    ...routes.map((line) => `route ${line}`),
  ];
}
