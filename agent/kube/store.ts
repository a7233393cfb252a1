// What the agent knows of one kind: typed, immutable records by `namespace/name`, fed by list-watch.ts. A change that
// leaves a record's meaning as it was keeps the same record object and notifies nobody: a Service's resourceVersion moves
// whenever anybody touches its status, and nothing downstream must notice.
import type { ObjectRef, Problem, Result } from "../../shared/result.ts";
import { fieldOf, isObject, sameValue, stringOf } from "./json.ts";
import type { Sink } from "./list-watch.ts";

/** An object by name, as writers need it to refer to it. */
export interface ObjectIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
}

export interface Stored<R, A = undefined> extends ObjectIdentity {
  readonly resourceVersion: string;
  /** Undefined when the object is invalid: then it grants nothing, and `problems` says why. */
  readonly record: R | undefined;
  readonly problems: readonly Problem[];
  /** What a writer compares with (conditions of a status): follows every version of the object, silently. */
  readonly aside: A;
}

/** `ok(undefined)`: the object is there but means nothing to the mesh (a finished pod, an export being deleted). */
export type Parse<R> = (object: unknown) => Result<R | undefined>;

export interface StoreOptions<R, A> {
  readonly kind: string;
  readonly parse: Parse<R>;
  /** Called when a record, or a problem, appeared, changed or went. */
  readonly onChange: () => void;
  readonly aside: (object: unknown) => A;
}

export interface ObjectStore<R, A = undefined> {
  readonly sink: Sink;
  /** The same array as long as nothing changed. */
  records(): readonly R[];
  get(namespace: string, name: string): Stored<R, A> | undefined;
  all(): IterableIterator<Stored<R, A>>;
  /** Of every object that could not be read. */
  problems(): readonly Problem[];
}

export function createStore<R, A>(options: StoreOptions<R, A>): ObjectStore<R, A> {
  let entries = new Map<string, Stored<R, A>>();
  let listing: Map<string, Stored<R, A>> | undefined;
  let cached: readonly R[] | undefined = [];

  const changed = () => {
    cached = undefined;
    options.onChange();
  };
  const read = (object: unknown) => readEntry(options, entries, object);
  const sink: Sink = {
    begin: () => {
      listing = new Map();
    },
    page: (items) => {
      for (const item of items) {
        const { key, entry } = read(item);
        if (entry !== undefined) listing?.set(key, entry);
      }
    },
    commit: () => {
      if (listing === undefined) return;
      const before = entries;
      entries = listing;
      listing = undefined;
      if (!sameMeaning(before, entries)) changed();
    },
    put: (object) => {
      const { key, entry } = read(object);
      const before = entries.get(key);
      if (entry === undefined) entries.delete(key);
      else entries.set(key, entry);
      if (!sameEntry(before, entry)) changed();
    },
    remove: (object) => {
      if (entries.delete(keyOf(object))) changed();
    },
  };
  return {
    sink,
    records: () =>
      (cached ??= [...entries.values()].flatMap((entry) => (entry.record === undefined ? [] : [entry.record]))),
    get: (namespace, name) => entries.get(`${namespace}/${name}`),
    all: () => entries.values(),
    problems: () => [...entries.values()].flatMap((entry) => entry.problems),
  };
}

/** The new entry, reusing the record (and the problems) that the same object had, where they mean the same. */
function readEntry<R, A>(
  options: StoreOptions<R, A>,
  entries: ReadonlyMap<string, Stored<R, A>>,
  object: unknown,
): { readonly key: string; readonly entry: Stored<R, A> | undefined } {
  const key = keyOf(object);
  const before = entries.get(key);
  const identity = identityOf(object);
  const resourceVersion = stringOf(fieldOf(object, "metadata", "resourceVersion"));
  if (before !== undefined && before.uid === identity.uid && before.resourceVersion === resourceVersion) {
    return { key, entry: before };
  }
  const parsed = options.parse(object);
  if (parsed.ok && parsed.value === undefined) return { key, entry: undefined };
  const record = parsed.ok ? parsed.value : undefined;
  const problems = parsed.ok ? noProblems : parsed.error.map((problem) => about(options.kind, identity, problem));
  const entry: Stored<R, A> = {
    ...identity,
    resourceVersion,
    record: keepIfSame(before?.record, record),
    problems: keepIfSame(before?.problems, problems) ?? noProblems,
    aside: options.aside(object),
  };
  return { key, entry };
}

function keepIfSame<T>(before: T, now: T): T {
  return sameValue(before, now) ? before : now;
}

const noProblems: readonly Problem[] = [];

function about(kind: string, { namespace, name }: ObjectIdentity, problem: Problem): Problem {
  const object: ObjectRef = namespace === "" ? { kind, name } : { kind, namespace, name };
  return { ...problem, object };
}

function sameMeaning<R, A>(a: ReadonlyMap<string, Stored<R, A>>, b: ReadonlyMap<string, Stored<R, A>>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, entry] of b) if (!sameEntry(a.get(key), entry)) return false;
  return true;
}

/** By identity: readEntry keeps what means the same. A new uid is a new object whose status nobody has written yet. */
function sameEntry<R, A>(a: Stored<R, A> | undefined, b: Stored<R, A> | undefined): boolean {
  return a?.record === b?.record && a?.problems === b?.problems && a?.uid === b?.uid;
}

function identityOf(object: unknown): ObjectIdentity {
  const metadata = fieldOf(object, "metadata");
  const generation = fieldOf(metadata, "generation");
  return {
    namespace: stringOf(fieldOf(metadata, "namespace")),
    name: stringOf(fieldOf(metadata, "name")),
    uid: stringOf(fieldOf(metadata, "uid")),
    generation: typeof generation === "number" ? generation : 0,
  };
}

function keyOf(object: unknown): string {
  const metadata = isObject(object) ? object["metadata"] : undefined;
  return `${stringOf(fieldOf(metadata, "namespace"))}/${stringOf(fieldOf(metadata, "name"))}`;
}
