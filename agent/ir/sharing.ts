// Structural sharing between two builds: what is deep-equal to the previous IR becomes the same object again, so that
// later stages recognise by === what did not change. Plain data only; called by build.ts.

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shareArray(previous: readonly unknown[], next: readonly unknown[]): readonly unknown[] {
  const shared = next.map((value, index) => share(previous[index], value));
  if (previous.length === shared.length && shared.every((value, index) => value === previous[index])) return previous;
  return shared.every((value, index) => value === next[index]) ? next : shared;
}

function shareFields(previous: Fields, next: Fields): Fields {
  const names = Object.keys(next);
  const shared: Record<string, unknown> = {};
  let same = Object.keys(previous).length === names.length;
  let gained = false;
  for (const name of names) {
    const value = share(previous[name], next[name]);
    shared[name] = value;
    same &&= value === previous[name] && (value !== undefined || name in previous);
    gained ||= value !== next[name];
  }
  if (same) return previous;
  return gained ? shared : next;
}

/** `next` in value, `previous` in identity wherever the two are deep-equal; `next` itself where that gives nothing. */
export function share<T>(previous: unknown, next: T): T {
  if (previous === next) return next;
  if (Array.isArray(previous) && Array.isArray(next)) return shareArray(previous, next) as T;
  if (isFields(previous) && isFields(next)) return shareFields(previous, next) as T;
  return next;
}

/** `share` for a long list of keyed elements: an insertion in the middle must not cost the identity of all behind it. */
export function shareList<T>(
  previous: readonly T[] | undefined,
  next: readonly T[],
  keyOf: (value: T) => string,
): readonly T[] {
  if (previous === undefined || previous === next) return next;
  let position = 0;
  let same = previous.length === next.length;
  // both lists are sorted by key: walk them side by side, and build the map only when they drift apart
  let byKey: Map<string, T> | undefined;
  const shared = next.map((value) => {
    const beside = previous[position++];
    if (beside === value) return value;
    same = false;
    byKey ??= new Map(previous.map((old) => [keyOf(old), old]));
    return share(byKey.get(keyOf(value)), value);
  });
  same ||= previous.length === shared.length && shared.every((value, index) => value === previous[index]);
  if (same) return previous;
  return shared.every((value, index) => value === next[index]) ? next : shared;
}
