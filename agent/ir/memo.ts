// Remembering a pure result by the identity of what it was made from: a changed object is a new record (inputs.ts), so an
// unchanged one needs no second look and a build costs O(change). A memory holds the results of one build and reads those
// of the build before; what is not asked for again is forgotten with it. It must never change a result, only its cost:
// build.test.ts holds buildIr(x, previous) equal to a fresh build.

interface Remembered<T> {
  readonly needs: readonly unknown[];
  readonly value: T;
}

/** Names one kind of result; its type is that of the values. */
export interface Topic<T> {
  readonly name: string;
  readonly sample?: T;
}

/** By the record itself, or by its `namespace/name` where a changed record should find what was made of the one before. */
export type Anchor = object | string;

type Results = Map<Anchor, Remembered<unknown>>;

export interface Memory {
  readonly before: ReadonlyMap<Topic<unknown>, Results> | undefined;
  readonly now: Map<Topic<unknown>, Results>;
}

/** Results of one topic by the object they belong to. Plain maps: with weak ones the garbage collector took half of a build. */
export interface Table<T> {
  readonly before: ReadonlyMap<Anchor, Remembered<T>> | undefined;
  readonly now: Map<Anchor, Remembered<T>>;
}

export function topic<T>(name: string): Topic<T> {
  return { name };
}

export function tableOf<T>(memory: Memory, subject: Topic<T>): Table<T> {
  let now = memory.now.get(subject);
  if (now === undefined) {
    now = new Map();
    memory.now.set(subject, now);
  }
  // a topic is the only key of its results, so their type is the topic's
  return { before: memory.before?.get(subject), now } as Table<T>;
}

export function sameElements(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** The value made last for `anchor` if it was made from the same `needs`, else a new one from `make`, which may share parts of the last. */
export function remember<T>(
  table: Table<T>,
  anchor: Anchor,
  needs: readonly unknown[],
  make: (last: T | undefined) => T,
): T {
  const known = table.now.get(anchor) ?? table.before?.get(anchor);
  if (known !== undefined && sameElements(known.needs, needs)) {
    table.now.set(anchor, known);
    return known.value;
  }
  const value = make(known?.value);
  table.now.set(anchor, { needs, value });
  return value;
}

const memories = new WeakMap<object, Memory>();

/** A fresh memory that reads what was kept for any of `subjects`: the previous IR, or the inputs of the last build. */
export function memoryAfter(...subjects: readonly (object | undefined)[]): Memory {
  const known = subjects
    .map((subject) => (subject === undefined ? undefined : memories.get(subject)))
    .find((memory) => memory !== undefined);
  return { before: known?.now, now: new Map() };
}

/** Kept as long as `subject` lives. */
export function keepMemory(memory: Memory, subject: object): void {
  memories.set(subject, { before: undefined, now: memory.now });
}
