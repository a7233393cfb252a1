// Faults of the network between clusters, hub and host: rules in the fabric. The list of faults is kept in the run and
// the rules are made from the whole list each time, so a fault put in by one process can be healed by another.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { withLock } from "../../shared/programs/cache.ts";
import type { RunNetwork } from "../network/addresses.ts";
import { loadRules } from "../network/fabric.ts";
import { faultRules, type Fault, type FaultEnd, type FaultKind } from "../network/rules.ts";
import { silentProgress } from "../../shared/progress.ts";
import { netnsPath, type RunPaths } from "../run/paths.ts";
import { writeJson } from "../run/record.ts";

export interface FleetFaults {
  /** Resets connections between two places: a cluster's name, `hub`, `host`, an address or `ADDRESS:PORT`. */
  cut(a: string, b?: string): Promise<void>;
  /** Loses packets between them without an answer: the hard case, since no side learns of it. */
  blackhole(a: string, b?: string): Promise<void>;
  /** Takes back the faults between exactly these two; without arguments, all of them. */
  heal(a?: string, b?: string): Promise<void>;
  list(): Promise<readonly NamedFault[]>;
}

export interface NamedFault {
  readonly kind: FaultKind;
  readonly a: string;
  /** Undefined: everything. */
  readonly b?: string;
}

const ADDRESS = /^(\d{1,3}(?:\.\d{1,3}){3}(?:\/\d{1,2})?)(?::(\d{1,5}))?$/;

/** An address as a fault's end, or undefined when the text is none. */
export function addressEnd(text: string): FaultEnd | undefined {
  const match = ADDRESS.exec(text);
  if (match === null) return undefined;
  const [, address = "", port] = match;
  return port === undefined ? { address } : { address, port: Number(port) };
}

/** Faults of one ruleset: where the rules are loaded and how a name becomes a rule's end. */
export interface FaultScope {
  readonly netns: string;
  readonly file: string;
  readonly endOf: (name: string) => FaultEnd | undefined;
  readonly known: string;
}

function sameEnds(x: NamedFault, a: string, b: string | undefined): boolean {
  return (x.a === a && x.b === b) || (x.a === b && x.b === a);
}

export function networkFaults(scope: FaultScope): FleetFaults {
  const end = (name: string): FaultEnd => {
    const found = addressEnd(name) ?? scope.endOf(name);
    if (found !== undefined) return found;
    throw new UserError("ISTHMUS_CLUSTERS_BAD_FAULT", `"${name}" is no place for a fault`, {
      hint: `use ${scope.known}, an address or ADDRESS:PORT`,
    });
  };
  const list = async (): Promise<readonly NamedFault[]> =>
    JSON.parse(await readFile(scope.file, "utf8").catch(() => "[]")) as readonly NamedFault[];
  const change = (edit: (faults: readonly NamedFault[]) => readonly NamedFault[]) =>
    withLock(`${scope.file}.lock`, silentProgress, async () => {
      const faults = edit(await list());
      const rules: readonly Fault[] = faults.map(({ kind, a, b }) => ({
        kind,
        ends: [end(a), b === undefined ? { any: true } : end(b)],
      }));
      await loadRules(scope.netns, faultRules(rules));
      await writeJson(scope.file, faults);
    });
  const put = (kind: FaultKind) => (a: string, b?: string) =>
    change((faults) => [
      ...faults.filter((fault) => !sameEnds(fault, a, b)),
      b === undefined ? { kind, a } : { kind, a, b },
    ]);
  return {
    cut: put("cut"),
    blackhole: put("blackhole"),
    heal: (a, b) => change((faults) => (a === undefined ? [] : faults.filter((fault) => !sameEnds(fault, a, b)))),
    list,
  };
}

export function fleetFaults(paths: RunPaths, network: RunNetwork): FleetFaults {
  const interfaces = new Map([
    ...network.clusters.map((cluster) => [cluster.name, cluster.fabricInterface] as const),
    ["hub", "hub"] as const,
    ["host", "host"] as const,
  ]);
  return networkFaults({
    netns: netnsPath(paths, "fabric"),
    file: join(paths.runtime, "faults", "fabric.json"),
    endOf: (name) => {
      const found = interfaces.get(name);
      return found === undefined ? undefined : { interface: found };
    },
    known: [...interfaces.keys()].join(", "),
  });
}
