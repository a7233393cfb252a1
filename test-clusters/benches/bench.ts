// What a bench is: `npm run bench` lists them, runs one and writes what it found. Implemented by the files beside this one.
import type { ClusterSettings, ClustersUp } from "../joined/joined-fleet.ts";
import type { Progress } from "../../shared/progress.ts";
import type { SiteFleet, SiteFleetSettings } from "../sites/site-fleet.ts";

export interface BenchContext {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** The cases that were asked for; undefined: all. */
  readonly only: readonly string[] | undefined;
  /** A fleet of these clusters with hub and agents, brought up for this bench and taken down after it. */
  withJoinedFleet<T>(
    clusters: readonly string[],
    work: (up: ClustersUp) => Promise<T>,
    settings?: ClusterSettings,
  ): Promise<T>;
  /** The same before any cluster has joined: hub up, images on every node. */
  withFleet<T>(
    clusters: readonly string[],
    work: (up: ClustersUp) => Promise<T>,
    settings?: ClusterSettings,
  ): Promise<T>;
  /** A fleet of sites on this machine, joined; needs no root. */
  withSites<T>(
    sites: readonly string[],
    work: (fleet: SiteFleet) => Promise<T>,
    settings?: SiteFleetSettings,
  ): Promise<T>;
}

export interface Bar {
  readonly text: string;
  readonly held: boolean;
}

export interface BenchResult {
  /** Goes under the bench's name into the result file. */
  readonly figures: Readonly<Record<string, unknown>> | readonly unknown[];
  /** What it was measured under, beside machine and versions. */
  readonly conditions?: Readonly<Record<string, unknown>>;
  readonly bars: readonly Bar[];
}

export interface Bench {
  readonly name: string;
  readonly about: string;
  /** For --list, before anything is measured. */
  readonly bar: string;
  readonly minutes: number;
  readonly needsRoot: boolean;
  /** What `--case` may name; absent: the bench is one whole. */
  readonly cases?: readonly string[];
  run(context: BenchContext): Promise<BenchResult>;
  /** With --sites: the same on sites, without root. */
  runOnSites?(context: BenchContext): Promise<BenchResult>;
}

export function atMost(what: string, value: number, limit: number, unit: string): Bar {
  return { text: `${what} ${value} ${unit}, bar ${limit} ${unit}`, held: value <= limit };
}
