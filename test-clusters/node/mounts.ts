// The mount namespace of a node: containerd, its shims and the kubelet share it, and every mount they make (volumes,
// container roots, pod network namespaces) ends with its last process, so a crash cannot leave one on the host.
// Folders that those programs use under fixed names (/run/containerd, /var/lib/kubelet, /var/log/containers) are covered
// by empty ones for the same reason.

const COVERED = ["/run", "/var/lib", "/var/log"];

function quote(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`;
}

/**
 * Shell script of the holder: it prepares the namespace, says `ready` and sleeps. `keep` are folders that must stay
 * visible although they lie below a covered one.
 */
export function holderScript(keep: readonly string[]): string {
  const hidden = keep.filter((path) => COVERED.some((covered) => path.startsWith(`${covered}/`)));
  return [
    "set -e",
    // slave first (unshare did it): nothing below reaches the host; shared again: the kubelet needs propagation to pods
    "mount --make-rshared /",
    "mount -t tmpfs -o mode=0755 tmpfs /mnt",
    ...hidden.map((path, index) => `mkdir /mnt/${index} && mount --rbind ${quote(path)} /mnt/${index}`),
    ...COVERED.map((path) => `mount -t tmpfs -o mode=0755 tmpfs ${path}`),
    "mkdir -p /run/lock /run/netns /var/lib/kubelet /var/log/containers",
    ...hidden.map((path, index) => `mkdir -p ${quote(path)} && mount --rbind /mnt/${index} ${quote(path)}`),
    "umount -l /mnt",
    "echo ready",
    "exec sleep infinity",
  ].join("\n");
}

/** Runs a program in the node's network and mount namespaces. */
export function inNode(holderPid: number, argv: readonly string[]): readonly string[] {
  return ["nsenter", `--target=${holderPid}`, "--net", "--mount", "--", ...argv];
}
