// Remembers what was made of an unchanged part of the IR, so that a push costs O(change): equal input gives the SAME object, which
// the snapshot recognises without encoding it again. Called throughout agent/xds. A cache, never a state: it must not change a result.
const values = new WeakMap<object, Map<string, unknown>>();

/** `key` must name everything that `make` depends on besides `anchor`, and what is made. */
export function remembered<T>(anchor: object, key: string, make: () => T): T {
  let known = values.get(anchor);
  if (known === undefined) {
    known = new Map();
    values.set(anchor, known);
  }
  // the key names what is made, so a value under it has its type
  if (known.has(key)) return known.get(key) as T;
  const value = make();
  known.set(key, value);
  return value;
}

interface Latest<T> {
  readonly needs: readonly unknown[];
  readonly value: T;
}

export type LatestOf<T> = WeakMap<object, Latest<T>>;

/** For what depends on much that changes: only the latest value of `anchor` is kept, and given again while `needs` are the same. */
export function latest<T>(memory: LatestOf<T>, anchor: object, needs: readonly unknown[], make: () => T): T {
  const known = memory.get(anchor);
  if (known?.needs.length === needs.length && known.needs.every((need, index) => need === needs[index]))
    return known.value;
  const value = make();
  memory.set(anchor, { needs, value });
  return value;
}
