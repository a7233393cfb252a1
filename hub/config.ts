// The hub's configuration: flags and environment, checked once, every mistake named. Called by `isthmus hub` and by tests.
import { realpath } from "node:fs/promises";
import { parseDuration } from "../shared/duration.ts";
import { UserError } from "../shared/errors.ts";
import type { LogLevel } from "../shared/log.ts";
import type { EndpointConfig } from "./federation/bundle-endpoint.ts";
import { parseRedisUrl, type RedisTarget } from "./store/redis-connection.ts";

/** As a person gave it. */
export interface HubOptions {
  readonly data: string;
  readonly redis?: string | undefined;
  readonly redisCa?: string | undefined;
  readonly listen?: string | undefined;
  readonly http?: string | undefined;
  readonly advertise?: string | undefined;
  readonly insecureDev?: boolean | undefined;
  readonly allowLoopback?: boolean | undefined;
  readonly logLevel?: string | undefined;
  readonly agentTtl?: string | undefined;
  readonly clusterCaTtl?: string | undefined;
  readonly retireSkew?: string | undefined;
  readonly rootTtl?: string | undefined;
  readonly hubTtl?: string | undefined;
  readonly bundleRefresh?: string | undefined;
  readonly bundleListen?: string | undefined;
  readonly bundleCert?: string | undefined;
  readonly bundleKey?: string | undefined;
  readonly maxRecords?: string | undefined;
  readonly maxPolicies?: string | undefined;
}

export interface HubConfig {
  readonly dataDir: string;
  /** Undefined: the hub starts a Redis of its own. */
  readonly redis: RedisTarget | undefined;
  readonly listen: string;
  readonly http: string;
  /** `host:port` written into join tokens; undefined: as `isthmus init` was told. */
  readonly advertise: string | undefined;
  /** Sites on one machine publish gateways on loopback. */
  readonly allowLoopback: boolean;
  /** Exports, capacities and gateways of one member in the registry: a member that runs wild fills its own share. */
  readonly maxRecordsPerMember: number;
  /** SMI objects that one member may offer to others. */
  readonly maxPoliciesPerMember: number;
  readonly logLevel: LogLevel;
  readonly agentTtlMs: number;
  readonly clusterCaTtlMs: number;
  /** After the last certificate under a retiring root has ended, it is trusted for so much longer: clocks differ. */
  readonly retireSkewMs: number;
  /** Of roots that rotations make. */
  readonly rootTtlMs: number;
  /** Of the hub's own certificate. */
  readonly serverTtlMs: number;
  /** How often other fleets are asked to read this one's bundle. */
  readonly bundleRefreshMs: number;
  /** The SPIFFE bundle endpoint; undefined: none. */
  readonly bundleEndpoint: EndpointConfig | undefined;
}

const defaultListen = "0.0.0.0:8443";
const defaultHttp = "0.0.0.0:8081";
const levels: ReadonlySet<string> = new Set<LogLevel>(["debug", "info", "warn", "error"]);

export async function parseHubOptions(options: HubOptions): Promise<HubConfig> {
  const dataDir = await realpath(options.data).catch((cause: unknown) => {
    throw new UserError("ISTHMUS_DATA", `${options.data} is no data folder of a hub`, {
      cause,
      hint: `make one: isthmus init FLEET.DOMAIN --data ${options.data}`,
    });
  });
  const { logLevel = "info", redis } = options;
  if (!levels.has(logLevel))
    throw new UserError("ISTHMUS_OPTION", `--log-level ${logLevel}: debug, info, warn or error`);
  return {
    dataDir,
    redis: redis === undefined ? undefined : parseRedisUrl(redis, options.insecureDev === true, options.redisCa),
    listen: checkAddress("--listen", options.listen ?? defaultListen),
    http: checkAddress("--http", options.http ?? defaultHttp),
    advertise: options.advertise === undefined ? undefined : checkAddress("--advertise", options.advertise),
    allowLoopback: options.allowLoopback === true,
    maxRecordsPerMember: quota("--max-records", options.maxRecords ?? "10000"),
    maxPoliciesPerMember: quota("--max-policies", options.maxPolicies ?? "1000"),
    logLevel: logLevel as LogLevel,
    agentTtlMs: lifetime("--agent-ttl", options.agentTtl ?? "7d"),
    clusterCaTtlMs: lifetime("--cluster-ca-ttl", options.clusterCaTtl ?? "7d"),
    retireSkewMs: parseDuration("--retire-skew", options.retireSkew ?? "5m"),
    ...moreLifetimes(options),
    bundleEndpoint: endpointOf(options),
  };
}

const mostPerMember = 1_000_000;

function quota(flag: string, text: string): number {
  const count = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= mostPerMember) return count;
  throw new UserError("ISTHMUS_OPTION", `${flag} ${text}: a member's quota is a number from 1 to ${mostPerMember}`, {
    hint: "leave it out for the default",
  });
}

type MoreLifetimes = Pick<HubConfig, "rootTtlMs" | "serverTtlMs" | "bundleRefreshMs">;

function moreLifetimes({ rootTtl = "1825d", hubTtl = "90d", bundleRefresh = "5m" }: HubOptions): MoreLifetimes {
  return {
    rootTtlMs: within(
      ["--root-ttl", rootTtl],
      [24 * 3_600_000, 30 * longestMs],
      "a root lives between a day and 30 years",
    ),
    serverTtlMs: lifetime("--hub-ttl", hubTtl),
    bundleRefreshMs: within(
      ["--bundle-refresh", bundleRefresh],
      [60_000, 24 * 3_600_000],
      "bundles are read again between once a minute and once a day",
    ),
  };
}

function within(
  [flag, text]: readonly [string, string],
  [leastMs, mostMs]: readonly [number, number],
  rule: string,
): number {
  const ms = parseDuration(flag, text);
  if (ms >= leastMs && ms <= mostMs) return ms;
  throw new UserError("ISTHMUS_LIFETIME", `${flag} ${text}: ${rule}`, { hint: "leave it out for the default" });
}

function endpointOf({ bundleListen, bundleCert, bundleKey }: HubOptions): EndpointConfig | undefined {
  if ((bundleCert === undefined) !== (bundleKey === undefined)) {
    throw new UserError("ISTHMUS_OPTION", "--bundle-cert and --bundle-key go together", {
      hint: "without both the endpoint is served with the hub's own SVID (profile https_spiffe)",
    });
  }
  if (bundleListen === undefined) return undefined;
  const web =
    bundleCert === undefined || bundleKey === undefined ? undefined : { certFile: bundleCert, keyFile: bundleKey };
  return { listen: checkAddress("--bundle-listen", bundleListen), web };
}

/** `host:port`, IPv6 in brackets. */
export function checkAddress(flag: string, text: string): string {
  const match = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(\d{1,5})$/.exec(text);
  if (match === null || Number(match[1]) > 65_535) {
    throw new UserError("ISTHMUS_ADDRESS", `${flag} ${text} is not HOST:PORT`, { hint: "e.g. hub.acme.example:8443" });
  }
  return text;
}

const [shortestMs, longestMs] = [60_000, 365 * 24 * 3_600_000];

function lifetime(flag: string, text: string): number {
  return within([flag, text], [shortestMs, longestMs], "a certificate lives between one minute and a year");
}
