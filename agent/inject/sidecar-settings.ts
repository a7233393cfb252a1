// The mesh-wide settings of sidecars: one JSON document, because the chart's value `sidecar` has parts. Read once by agent/config.ts.
import { parseRange } from "../../shared/address-range.ts";
import { noExclusions, type InjectionSettings, type TrafficExclusions } from "./settings.ts";

export type SidecarSettings = Pick<
  InjectionSettings,
  "proxyCpuRequest" | "proxyMemoryRequest" | "proxyMemoryLimitBytes" | "concurrency" | "exclusions"
>;

export const defaultSidecar: SidecarSettings = {
  proxyCpuRequest: "20m",
  proxyMemoryRequest: "48Mi",
  proxyMemoryLimitBytes: 256 * 1024 * 1024,
  concurrency: 2,
  exclusions: noExclusions,
};

/** An Envoy with two workers starts in less, but is killed under the first load. */
const MIN_LIMIT_BYTES = 64 * 1024 * 1024;
const quantity = /^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$/;

/** `text` as the chart renders it; empty: the defaults. `problem` is told of each field that cannot be used. */
export function readSidecarSettings(text: string, problem: (field: string, message: string) => void): SidecarSettings {
  if (text === "") return defaultSidecar;
  const given = parseDocument(text);
  if (given === undefined) {
    problem("", "is not a JSON document");
    return defaultSidecar;
  }
  const read = <T>(name: string, otherwise: T, fits: (value: unknown) => value is T, wanted: string): T => {
    const value = given[name] ?? otherwise;
    if (fits(value)) return value;
    problem(name, `${JSON.stringify(value)} is not ${wanted}`);
    return otherwise;
  };
  return {
    proxyCpuRequest: read("cpuRequest", defaultSidecar.proxyCpuRequest, isQuantity, "a quantity such as 20m"),
    proxyMemoryRequest: read("memoryRequest", defaultSidecar.proxyMemoryRequest, isQuantity, "a quantity such as 48Mi"),
    proxyMemoryLimitBytes: read("memoryLimitBytes", defaultSidecar.proxyMemoryLimitBytes, isLimit, "64 MiB or more"),
    concurrency: read("concurrency", defaultSidecar.concurrency, isConcurrency, "1 or 2"),
    exclusions: readExclusionLists(given["exclude"], problem),
  };
}

function readExclusionLists(value: unknown, problem: (field: string, message: string) => void): TrafficExclusions {
  const lists = (value ?? {}) as Readonly<Record<string, unknown>>;
  const read = <T>(name: string, fits: (entry: unknown) => T | undefined): readonly T[] => {
    const entries = Array.isArray(lists[name]) ? (lists[name] as readonly unknown[]) : [];
    return entries.flatMap((entry, index) => {
      const read = fits(entry);
      if (read === undefined) problem(`exclude.${name}[${index}]`, `${JSON.stringify(entry)} cannot be read`);
      return read === undefined ? [] : [read];
    });
  };
  const port = (entry: unknown) => (isPort(entry) ? entry : undefined);
  const range = (entry: unknown) => (typeof entry === "string" ? parseRange(entry)?.range : undefined);
  return {
    outboundPorts: read("outboundPorts", port),
    inboundPorts: read("inboundPorts", port),
    outboundRanges: read("outboundRanges", range),
    outboundOnlyRanges: read("outboundOnlyRanges", range),
  };
}

function parseDocument(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

function isQuantity(value: unknown): value is string {
  return typeof value === "string" && quantity.test(value);
}

function isLimit(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= MIN_LIMIT_BYTES;
}

function isConcurrency(value: unknown): value is number {
  return value === 1 || value === 2;
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}
