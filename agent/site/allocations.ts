// Who has which number on this machine: a block of loopback addresses per workload, an offset per service, and, where there
// are no loopback addresses, a port per workload's HTTP proxy. Pure: decides from what was decided before. Whoever has a
// number keeps it, also while away; a number changes hands only when no other is left.
import { FIRST_SERVICE_OFFSET, LAST_SERVICE_OFFSET } from "./loopback-range.ts";

export interface Allocations {
  /** Block by `namespace/name`. */
  readonly workloads: Readonly<Record<string, number>>;
  /** Offset by `namespace/name` of a Service. */
  readonly services: Readonly<Record<string, number>>;
  /** Port of the HTTP proxy by `namespace/name` of a workload. */
  readonly proxyPorts: Readonly<Record<string, number>>;
}

export const noAllocations: Allocations = { workloads: {}, services: {}, proxyPorts: {} };

export interface AllocationWish {
  readonly workloads: readonly string[];
  readonly services: readonly string[];
  /** Blocks of the loopback range; 0: there is none. */
  readonly blocks: number;
  /** Ports that were free when asked, for workloads that have none yet. */
  readonly freePorts: readonly number[];
}

export function allocate(last: Allocations, wish: AllocationWish): Allocations {
  const { workloads, services, blocks, freePorts } = wish;
  if (blocks === 0) {
    const ports = { allowed: () => freePorts, holds: () => true };
    return { ...last, proxyPorts: assign(last.proxyPorts, workloads, ports) };
  }
  return {
    ...last,
    workloads: assign(last.workloads, workloads, between(0, blocks - 1)),
    services: assign(last.services, services, between(FIRST_SERVICE_OFFSET, LAST_SERVICE_OFFSET)),
  };
}

/** Workloads without a port of their own yet: as many free ones must be looked for. */
export function withoutPort(last: Allocations, workloads: readonly string[]): number {
  return workloads.filter((key) => !Object.hasOwn(last.proxyPorts, key)).length;
}

interface Numbers {
  readonly allowed: () => readonly number[];
  /** Whether a number that was given is one still: the range may be smaller now. */
  readonly holds: (number: number) => boolean;
}

function between(first: number, last: number): Numbers {
  return {
    allowed: () => Array.from({ length: last - first + 1 }, (_, index) => first + index),
    holds: (number) => number >= first && number <= last,
  };
}

type Book = Readonly<Record<string, number>>;

function assign(last: Book, wanted: readonly string[], numbers: Numbers): Book {
  const held = Object.entries(last).filter(([, number]) => numbers.holds(number));
  const next = new Map(held);
  const present = new Set(wanted);
  const missing = [...present].filter((key) => !next.has(key)).sort();
  if (missing.length === 0) return held.length === Object.keys(last).length ? last : Object.fromEntries(next);
  const taken = new Set(next.values());
  const free = numbers
    .allowed()
    .filter((number) => !taken.has(number))
    .values();
  for (const key of missing) {
    const number = free.next().value ?? takeFromAbsent(next, present);
    if (number !== undefined) next.set(key, number);
  }
  return Object.fromEntries(next);
}

function takeFromAbsent(book: Map<string, number>, present: ReadonlySet<string>): number | undefined {
  for (const [key, number] of book) {
    if (present.has(key)) continue;
    book.delete(key);
    return number;
  }
  return undefined;
}
