// Whether this machine can host clusters, found out before anything is made: one clear line instead of a pod that never
// starts. The checks are a list, so that the end-to-end tests can say how many are unmet and why they skip.
import { mkdir, readFile, statfs } from "node:fs/promises";
import { UserError } from "../../shared/errors.ts";
import { cgroupLayout, type CgroupLayout } from "./cgroups.ts";
import { findProgram, runCommand } from "./command.ts";
import { objectionToContainerd, parseContainerdVersion, type ContainerdVersion } from "./containerd.ts";

/** What is wrong with the machine, each with the reason, in the order in which a person would mend it. */
export async function machineObjections(): Promise<readonly string[]> {
  if (process.platform !== "linux") return [`test clusters need Linux, this is ${process.platform}`];
  if (process.arch !== "x64" && process.arch !== "arm64")
    return [`test clusters need x64 or arm64, not ${process.arch}`];
  if (process.getuid?.() !== 0) return ["test clusters need root: they make network namespaces, mounts and cgroups"];
  const missing: string[] = [];
  if (cgroupLayout() === undefined)
    missing.push("no usable control groups are mounted at /sys/fs/cgroup (version 2, or version 1 with pids)");
  const filesystems = await readFile("/proc/filesystems", "utf8");
  if (!/\boverlay\b/.test(filesystems) && !(await loads("overlay"))) missing.push("the kernel has no overlayfs");
  missing.push(...(await kernelNetworking()));
  return missing;
}

async function loads(module: string): Promise<boolean> {
  return runCommand("modprobe", [module]).then(
    () => true,
    () => false,
  );
}

/** Tries the real thing in a namespace of its own, which ends with the command. */
async function kernelNetworking(): Promise<readonly string[]> {
  const inside = (script: string) =>
    runCommand("unshare", ["--net", "--mount", "sh", "-ec", script]).then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
  const namespaces = await inside("true");
  if (namespaces !== undefined) return [`network and mount namespaces cannot be made: ${namespaces}`];
  const veth = await inside("ip link add probe0 type veth peer name probe1");
  return veth === undefined ? [] : [`the kernel has no veth links: ${veth}`];
}

/** nft is a package, so this comes after the packages are there. */
export async function checkNftables(): Promise<void> {
  const rules =
    "table inet probe { chain c { type nat hook prerouting priority dstnat; tcp dport 1 redirect to :2; }; }";
  await runCommand("unshare", ["--net", "nft", rules]).catch((cause: unknown) => {
    throw new UserError("ISTHMUS_CLUSTERS_UNSUPPORTED", "the kernel lacks nftables with address translation", {
      cause,
    });
  });
}

/** A template of images, three clusters' data and logs, and room for the pods of a test. */
const NEEDED_BYTES = 3e9;

/** Asked beforehand: etcd, containerd and the kubelet each fail in another way, and late, on a full disk. */
export async function requireSpace(folder: string, neededBytes: number = NEEDED_BYTES): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free >= neededBytes) return;
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1);
  throw new UserError(
    "ISTHMUS_DISK_FULL",
    `clusters need ${gigabytes(neededBytes)} GB; ${folder} has ${gigabytes(free)} GB free`,
    { hint: "free some space, or set XDG_CACHE_HOME to a folder on a larger disk" },
  );
}

export async function requireMachine(): Promise<CgroupLayout> {
  const [first] = await machineObjections();
  if (first !== undefined) throw new UserError("ISTHMUS_CLUSTERS_UNSUPPORTED", first);
  const layout = cgroupLayout();
  if (layout === undefined) throw new Error("control groups vanished while looking at them");
  return layout;
}

export interface InstalledContainerd {
  readonly program: string;
  readonly version: ContainerdVersion;
  /** As the program says it. */
  readonly text: string;
}

export async function requireContainerd(): Promise<InstalledContainerd> {
  const program = await findProgram("containerd");
  if (program === undefined) throw new UserError("ISTHMUS_CLUSTERS_NO_CONTAINERD", "containerd is not installed");
  const text = (await runCommand(program, ["--version"])).trim();
  const version = parseContainerdVersion(text);
  if (version === undefined) throw new Error(`containerd tells its version as "${text}"`);
  const objection = objectionToContainerd(version);
  if (objection !== undefined) throw new UserError("ISTHMUS_CLUSTERS_NO_CONTAINERD", objection);
  return { program, version, text };
}
