// The documents of one manifest file, each with the line of any of its fields: what is wrong is said as `file:line: what was
// expected`. Pure; called by manifest-file.ts.
import { isNode, isPair, LineCounter, parseAllDocuments, type Document, type ParsedNode } from "yaml";
import { err, ok, type Problem, type Result } from "../../shared/result.ts";

export interface ManifestDocument {
  readonly value: unknown;
  /** Of a field such as `spec.ports[0].port`; of the nearest one around it when it is not there. */
  readonly lineOf: (field: string) => number;
}

/** Far more than a folder of manifests needs, and little enough to be read in one turn of the event loop. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;
/** Aliases may not multiply: a billion laughs is eight lines. */
const MAX_ALIASES = 100;

export function readDocuments(file: string, text: string): Result<readonly ManifestDocument[]> {
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES)
    return err([malformed(file, 1, `is larger than ${MAX_TEXT_BYTES} bytes; split it`)]);
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  if (!Array.isArray(parsed)) return ok([]);
  const problems = parsed.flatMap((document) =>
    document.errors.map(({ message, pos }) =>
      malformed(file, lines.linePos(pos[0]).line, `not YAML: ${firstLine(message)}`),
    ),
  );
  if (problems.length > 0) return err(problems);
  const documents: ManifestDocument[] = [];
  for (const document of parsed) {
    const line = lines.linePos(document.contents?.range[0] ?? document.range[0]).line;
    const value = valueOf(document);
    if (value instanceof Error) return err([malformed(file, line, firstLine(value.message))]);
    if (value !== null) documents.push(...objectsOf(value, (field, of) => lineOf(document, lines, field, of)));
  }
  return ok(documents);
}

/** Line of a field of the object at a place in the document. */
type LineOf = (field: string, of: FieldPath) => number;
type FieldPath = readonly (string | number)[];

/** What `kubectl get -o yaml` gives of several objects: a List holds them, each as if it stood alone. */
function objectsOf(value: unknown, lineOf: LineOf): readonly ManifestDocument[] {
  const items = itemsOf(value);
  if (items === undefined) return [{ value, lineOf: (field) => lineOf(field, []) }];
  return items.map((item, index) => ({ value: item, lineOf: (field) => lineOf(field, ["items", index]) }));
}

/** Undefined: no list. The items of a list of one kind (ServiceList) need not repeat kind and version. */
function itemsOf(value: unknown): readonly unknown[] | undefined {
  if (typeof value !== "object" || value === null || !("kind" in value) || !("items" in value)) return undefined;
  const { kind, items } = value;
  if (typeof kind !== "string" || !kind.endsWith("List") || !isList(items)) return undefined;
  if (kind === "List") return items;
  const said = {
    kind: kind.slice(0, -"List".length),
    ...("apiVersion" in value ? { apiVersion: value.apiVersion } : {}),
  };
  return items.map((item) => (typeof item === "object" && item !== null ? { ...said, ...item } : item));
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function malformed(file: string, line: number, message: string): Problem {
  return { code: "ISTHMUS_MANIFEST", message: `${file}:${line}: ${message}` };
}

function valueOf(document: Document.Parsed): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    return error instanceof Error ? error : new Error("cannot be read", { cause: error });
  }
}

function firstLine(message: string): string {
  return message.split("\n", 1)[0] ?? "";
}

function lineOf(document: Document.Parsed, lines: LineCounter, field: string, of: FieldPath): number {
  for (const path of [fieldPath(field), olderPath(field)]) {
    for (let length = path.length; length > 0; length -= 1) {
      const start = startOf(document, [...of, ...path.slice(0, length)]);
      if (start !== undefined) return lines.linePos(start).line;
    }
  }
  const start = of.length === 0 ? undefined : startOf(document, of);
  return lines.linePos(start ?? document.contents?.range[0] ?? 0).line;
}

/** The key's place rather than the value's: a block value begins on a later line than the field that a person looks for. */
function startOf(document: Document.Parsed, path: FieldPath): number | undefined {
  const last = path.at(-1);
  const around = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (typeof last === "string" && isNode(around) && "items" in around) {
    const pair = around.items.find(
      (item) => isPair(item) && isNode(item.key) && "value" in item.key && item.key.value === last,
    );
    const key = isPair(pair) ? (pair.key as ParsedNode) : undefined;
    return key?.range[0];
  }
  const node = document.getIn(path, true);
  return isNode(node) ? node.range?.[0] : undefined;
}

/** Where SMI's first versions have a field that is said as the newest one has it: they have no `spec`, and call rules `specs`. */
function olderPath(field: string): FieldPath {
  const [first, second, ...rest] = fieldPath(field);
  if (first !== "spec" || second === undefined) return [];
  return [second === "rules" ? "specs" : second, ...rest];
}

/** `spec.ports[0].port` -> spec, ports, 0, port. Keys with dots in them end the search at the field around them. */
export function fieldPath(field: string): FieldPath {
  return field
    .split(/[.[\]]/)
    .filter((part) => part !== "")
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}
