// A site's configuration: what a person gave, checked once, every mistake named. Called by `isthmus site` and by tests.
import { mkdir, readdir, realpath, stat } from "node:fs/promises";
import { isIP } from "node:net";
import { parseDuration } from "../../shared/duration.ts";
import { UserError } from "../../shared/errors.ts";
import { parseClusterName } from "../../shared/ids.ts";
import type { LogLevel } from "../../shared/log.ts";
import type { GatewayAddress } from "../../shared/registry.ts";
import { parseLoopbackRange, type LoopbackRange } from "./loopback-range.ts";

/** As a person gave it. */
export interface SiteOptions {
  readonly data: string;
  readonly manifests: string;
  readonly tokenFile?: string | undefined;
  readonly address?: string | undefined;
  readonly adsPort?: string | number | undefined;
  readonly adminPort?: string | number | undefined;
  readonly gateway?: string | undefined;
  readonly advertise?: string | undefined;
  readonly loopbackRange?: string | undefined;
  readonly region?: string | undefined;
  readonly zone?: string | undefined;
  readonly permissive?: boolean | undefined;
  readonly egress?: boolean | undefined;
  readonly podLabel?: boolean | undefined;
  readonly policyFrom?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly svidTtl?: string | undefined;
}

export interface SiteConfig {
  /** Absolute; exists, and nobody else can read what is in it. */
  readonly dataDir: string;
  /** Absolute; it was there. If it goes later, what was read of it stays in force. */
  readonly manifestsDir: string;
  /** Read only while the site has not joined yet. */
  readonly tokenFile: string | undefined;
  /** Where ADS and the admin surface listen: an IP address. Sidecars are told to ask here. */
  readonly address: string;
  readonly adsPort: number;
  readonly adminPort: number;
  /** Where the gateway's Envoy listens. */
  readonly gatewayBind: GatewayAddress;
  /** What other members dial. */
  readonly advertise: GatewayAddress;
  /** Undefined: workloads and services have no loopback addresses. */
  readonly loopbackRange: LoopbackRange | undefined;
  readonly region: string;
  readonly zone: string;
  readonly permissive: boolean;
  /** Whether workloads may call what is no service of the mesh. */
  readonly egress: boolean;
  /** Whether sidecars count requests by the workloads' own names. */
  readonly podLabel: boolean;
  /** Members whose SMI objects are copied here where they want it; `*`: every member's; empty: nobody's. */
  readonly policyFrom: readonly string[];
  readonly logLevel: LogLevel;
  /** Life of workloads' certificates. */
  readonly svidTtlMs: number;
}

const defaults = {
  address: "127.0.0.1",
  adsPort: 15128,
  adminPort: 15014,
  gateway: "0.0.0.0:15443",
  loopbackRange: "127.64.0.0/12",
  svidTtl: "1h",
};
const levels: ReadonlySet<string> = new Set<LogLevel>(["debug", "info", "warn", "error"]);
const wildcards: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

export async function parseSiteOptions(options: SiteOptions): Promise<SiteConfig> {
  const { logLevel = "info", loopbackRange = defaults.loopbackRange } = options;
  if (!levels.has(logLevel))
    throw new UserError("ISTHMUS_OPTION", `--log-level ${logLevel}: debug, info, warn or error`);
  const address = options.address ?? defaults.address;
  if (isIP(address) === 0) {
    throw new UserError("ISTHMUS_ADDRESS", `--address ${address} is not an IP address`, { hint: "e.g. 127.0.0.1" });
  }
  const gatewayBind = socketAddress("--gateway", options.gateway ?? defaults.gateway);
  return {
    dataDir: await ownFolder(options.data),
    manifestsDir: await manifestsFolder(options.manifests),
    tokenFile: options.tokenFile,
    address,
    adsPort: port("--ads-port", options.adsPort ?? defaults.adsPort),
    adminPort: port("--admin-port", options.adminPort ?? defaults.adminPort),
    gatewayBind,
    advertise: advertised(options.advertise, gatewayBind),
    loopbackRange: loopbackRange === "none" ? undefined : parseLoopbackRange(loopbackRange),
    region: options.region ?? "",
    zone: options.zone ?? "",
    permissive: options.permissive === true,
    egress: options.egress !== false,
    podLabel: options.podLabel !== false,
    policyFrom: parsePolicyFrom(options.policyFrom),
    logLevel: logLevel as LogLevel,
    svidTtlMs: svidTtl(options.svidTtl),
  };
}

function parsePolicyFrom(text = "*"): readonly string[] {
  const members = text
    .split(",")
    .map((member) => member.trim())
    .filter((member) => member !== "" && member !== "none");
  for (const member of members) {
    if (member !== "*" && !parseClusterName(member).ok) {
      throw new UserError("ISTHMUS_CLUSTER_NAME", `--policy-from: "${member}" is not a member's name`, {
        hint: "names separated by commas, * for all, or none",
      });
    }
  }
  return members;
}

/** Shorter ones are renewed more often than they are any use; longer ones would outlive a revocation too far. */
const [shortestSvidMs, longestSvidMs] = [60_000, 24 * 3_600_000];

function svidTtl(text = defaults.svidTtl): number {
  const ms = parseDuration("--svid-ttl", text);
  if (ms >= shortestSvidMs && ms <= longestSvidMs) return ms;
  throw new UserError("ISTHMUS_LIFETIME", `--svid-ttl ${text}: a workload's certificate lives between 60s and 24h`, {
    hint: "1h is the default",
  });
}

/** Keys live in it: it is made for this program's user alone, and one that others may list or write is refused. */
async function ownFolder(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const { mode, uid } = await stat(path);
    if ((mode & 0o066) !== 0 || uid !== process.getuid?.()) {
      throw new UserError(
        "ISTHMUS_FILE_MODE",
        `${path} is open to others (mode ${(mode & 0o777).toString(8)}, user ${uid})`,
        {
          hint: `it will hold keys: chmod 700 ${path}, and run the site as the folder's owner`,
        },
      );
    }
    return await realpath(path);
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    const hint = "choose a folder that this program's user may make and write";
    throw new UserError("ISTHMUS_DATA_FOLDER", `cannot use ${path} as the site's data folder`, { cause, hint });
  }
}

/** At the start a folder that is not there is a slip of the pen; later it is an accident to live through. */
async function manifestsFolder(path: string): Promise<string> {
  try {
    const real = await realpath(path);
    await readdir(real);
    return real;
  } catch (cause) {
    throw new UserError("ISTHMUS_MANIFESTS", `cannot read the folder of manifests ${path}`, {
      cause,
      hint: `make it (it may be empty): mkdir -p ${path}`,
    });
  }
}

function advertised(text: string | undefined, bind: GatewayAddress): GatewayAddress {
  if (text !== undefined) return socketAddress("--advertise", text);
  if (!wildcards.has(bind.host)) return bind;
  throw new UserError("ISTHMUS_ADVERTISE", "where other members reach this site's gateway is not known", {
    hint: `it listens on every address (${bind.host}:${bind.port}): add --advertise HOST:PORT`,
  });
}

/** An IP address with a port; IPv6 in brackets. Names are for people: records carry IP literals only. */
function socketAddress(flag: string, text: string): GatewayAddress {
  const match = /^(?:\[(?<v6>[0-9A-Fa-f:.]{2,45})\]|(?<v4>[0-9.]{7,15})):(?<port>\d{1,5})$/.exec(text);
  const host = match?.groups?.["v6"] ?? match?.groups?.["v4"] ?? "";
  if (isIP(host) === 0) {
    throw new UserError("ISTHMUS_ADDRESS", `${flag} ${text} is not IP:PORT`, {
      hint: "e.g. 192.0.2.10:15443; IPv6 in brackets",
    });
  }
  return { host, port: port(flag, match?.groups?.["port"] ?? "") };
}

function port(flag: string, given: string | number): number {
  const number = typeof given === "number" ? given : /^\d{1,5}$/.test(given) ? Number(given) : NaN;
  if (Number.isInteger(number) && number > 0 && number <= 65_535) return number;
  throw new UserError("ISTHMUS_OPTION", `${flag} ${given} is not a port`, { hint: "a number from 1 to 65535" });
}
