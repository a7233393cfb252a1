// The one order of names in the IR: by code unit, never by locale, so that every replica sorts alike.
// Called by every builder in this folder; equal sets in any input order must give equal output.

export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

export function sortedUnique(texts: Iterable<string>): string[] {
  return [...new Set(texts)].sort(compareText);
}

export function objectKey(object: { readonly namespace: string; readonly name: string }): string {
  return `${object.namespace}/${object.name}`;
}

export function compareObjects(
  a: { readonly namespace: string; readonly name: string },
  b: { readonly namespace: string; readonly name: string },
): number {
  return compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
}

/** `next` in order, at the cost of what is not in `last`, which is in order already: records keep their identity while unchanged. */
export function sortedAfter<T>(
  last: readonly T[] | undefined,
  next: readonly T[],
  compare: (a: T, b: T) => number,
): readonly T[] {
  if (last === undefined) return [...next].sort(compare);
  const before = new Set(last);
  const after = new Set(next);
  const kept = last.filter((value) => after.has(value));
  const fresh = next.filter((value) => !before.has(value));
  if (fresh.length * 8 > next.length) return [...next].sort(compare);
  for (const value of fresh) kept.splice(placeOf(kept, value, compare), 0, value);
  return kept;
}

/** Behind all that are not greater. */
function placeOf<T>(sorted: readonly T[], value: T, compare: (a: T, b: T) => number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(sorted[middle] as T, value) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
