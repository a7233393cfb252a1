// Remembering a pure result by the identity of what it was made from: a changed object is a new record (inputs.ts), so an
// unchanged one needs no second look and a build costs O(change). A memory holds the stages of one build and reads those of
// the build before; what is not asked for again is forgotten with it. It must never change a result, only its cost:
// build.test.ts holds buildIr(x, previous) equal to a fresh build.

/** Names one stage of a build: its result is a T, made of elements E that are remembered one by one. */
export interface Topic<T, E = never> {
  readonly name: string;
  readonly sample?: readonly [T, E];
}

interface Remembered<E> {
  readonly needs: readonly unknown[];
  readonly value: E;
}

/** Elements of a stage by key. Plain maps: with weak ones by record the garbage collector took half of a build. */
export interface Table<E> {
  readonly before: ReadonlyMap<string, Remembered<E>> | undefined;
  readonly now: Map<string, Remembered<E>>;
}

interface Stage {
  readonly needs: readonly unknown[];
  readonly value: unknown;
  readonly elements: Map<string, Remembered<unknown>>;
}

type Stages = Map<Topic<unknown, unknown>, Stage>;

export interface Memory {
  readonly before: ReadonlyMap<Topic<unknown, unknown>, Stage> | undefined;
  readonly now: Stages;
}

export function topic<T, E = never>(name: string): Topic<T, E> {
  return { name };
}

export function sameElements(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** The last list again when the new one has the same elements: what needs it then sees that nothing changed. */
export function keepList<T>(last: readonly T[] | undefined, next: readonly T[]): readonly T[] {
  return last !== undefined && sameElements(last, next) ? last : next;
}

/** The last result of the stage if it was made from the same `needs`, else a new one from `make`. */
export function stage<T, E>(
  memory: Memory,
  subject: Topic<T, E>,
  needs: readonly unknown[],
  make: (table: Table<E>, last: T | undefined) => T,
): T {
  const known = memory.now.get(subject) ?? memory.before?.get(subject);
  if (known !== undefined && sameElements(known.needs, needs)) {
    memory.now.set(subject, known);
    // a topic is the only key of its stage, so the types are the topic's
    return known.value as T;
  }
  const before = known?.elements as Map<string, Remembered<E>> | undefined;
  const now = new Map<string, Remembered<E>>();
  const value = make({ before, now }, known?.value as T | undefined);
  memory.now.set(subject, { needs, value, elements: now });
  return value;
}

/** One element: the last value if made from the same `needs`, else a new one, which may share parts of the last. */
export function recall<E>(
  table: Table<E>,
  key: string,
  needs: readonly unknown[],
  make: (last: E | undefined) => E,
): E {
  const known = table.before?.get(key);
  if (known !== undefined && sameElements(known.needs, needs)) {
    table.now.set(key, known);
    return known.value;
  }
  const value = make(known?.value);
  table.now.set(key, { needs, value });
  return value;
}

const memories = new WeakMap<object, Memory>();

/** A fresh memory that reads what was kept for the first of `subjects` that is known: the previous IR, or the last inputs. */
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
