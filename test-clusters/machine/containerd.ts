// containerd 1.6 to 2.x behind one noun: what differs is the version of its configuration file and where the CRI
// settings live in it. Pure text, golden-tested for every line; node/ writes the file and starts the program.

export interface ContainerdVersion {
  readonly major: number;
  readonly minor: number;
}

/** "containerd github.com/containerd/containerd 1.6.20~ds1 ..." or ".../v2 v2.1.3 ..." */
export function parseContainerdVersion(answer: string): ContainerdVersion | undefined {
  const match = /\sv?(\d+)\.(\d+)[.~+\-\w]*/.exec(answer);
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]) };
}

/** 1.5 and older lack settings we rely on (netns below the state folder, unprivileged ports). */
export function objectionToContainerd(version: ContainerdVersion): string | undefined {
  if (version.major < 1 || (version.major === 1 && version.minor < 6))
    return `containerd ${version.major}.${version.minor} is too old: 1.6 to 2.x work`;
  return undefined;
}

export interface ContainerdSettings {
  readonly root: string;
  readonly state: string;
  readonly socket: string;
  readonly sandboxImage: string;
  readonly cniBinDir: string;
  readonly cniConfDir: string;
}

/** Without CAP_SYS_RESOURCE runc cannot lower an OOM score and fails with "can't get final child's PID from pipe". */
const OOM = "restrict_oom_score_adj = true";
/** Pod namespaces are mounted below our own state folder, so that they end with the node. */
const NETNS = "netns_mounts_under_state_dir = true";
/** CoreDNS binds port 53 as an ordinary user. */
const PORTS = ["enable_unprivileged_ports = true", "enable_unprivileged_icmp = true"];

function common(version: number, s: ContainerdSettings): readonly string[] {
  return [
    `version = ${version}`,
    `root = "${s.root}"`,
    `state = "${s.state}"`,
    // the opt plugin would make /opt/containerd on the host; tracing and NRI have no listener here
    'disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]',
    "[grpc]",
    `  address = "${s.socket}"`,
    "[ttrpc]",
    `  address = "${s.socket}.ttrpc"`,
  ];
}

/** Configuration version 2: containerd 1.6 and 1.7. */
function version2(s: ContainerdSettings): readonly string[] {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return [
    ...common(2, s),
    `[${cri}]`,
    `  sandbox_image = "${s.sandboxImage}"`,
    ...[OOM, NETNS, ...PORTS].map((line) => `  ${line}`),
    "  disable_apparmor = true",
    `[${cri}.cni]`,
    `  bin_dir = "${s.cniBinDir}"`,
    `  conf_dir = "${s.cniConfDir}"`,
    `[${cri}.containerd]`,
    '  snapshotter = "overlayfs"',
    `[${cri}.containerd.runtimes.runc]`,
    '  runtime_type = "io.containerd.runc.v2"',
    `[${cri}.containerd.runtimes.runc.options]`,
    "  SystemdCgroup = false",
  ];
}

/** Configuration version 3: containerd 2.x split the CRI plugin into images and runtime. */
function version3(s: ContainerdSettings, minor: number): readonly string[] {
  const images = "plugins.'io.containerd.cri.v1.images'";
  const runtime = "plugins.'io.containerd.cri.v1.runtime'";
  return [
    ...common(3, s),
    `[${images}]`,
    '  snapshotter = "overlayfs"',
    `[${images}.pinned_images]`,
    `  sandbox = "${s.sandboxImage}"`,
    `[${runtime}]`,
    ...[OOM, NETNS, ...PORTS].map((line) => `  ${line}`),
    "  disable_apparmor = true",
    `[${runtime}.cni]`,
    // 2.1 deprecated bin_dir, 2.3 removes it, 2.0 knows nothing else
    minor >= 1 ? `  bin_dirs = ["${s.cniBinDir}"]` : `  bin_dir = "${s.cniBinDir}"`,
    `  conf_dir = "${s.cniConfDir}"`,
    `[${runtime}.containerd.runtimes.runc]`,
    '  runtime_type = "io.containerd.runc.v2"',
    `[${runtime}.containerd.runtimes.runc.options]`,
    "  SystemdCgroup = false",
  ];
}

export function containerdConfig(version: ContainerdVersion, settings: ContainerdSettings): string {
  const lines = version.major >= 2 ? version3(settings, version.minor) : version2(settings);
  return `${lines.join("\n")}\n`;
}

/** For filling a template root: no CRI, so nothing but the content and snapshot stores is started. */
export function importerConfig(version: ContainerdVersion, settings: ContainerdSettings): string {
  const cri =
    version.major >= 2
      ? ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]
      : ["io.containerd.grpc.v1.cri"];
  const quoted = cri.map((name) => `"${name}", `).join("");
  return `${common(version.major >= 2 ? 3 : 2, settings)
    .map((line) => line.replace("disabled_plugins = [", `disabled_plugins = [${quoted}`))
    .join("\n")}\n`;
}
