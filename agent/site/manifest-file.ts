// One manifest file as it was read last, and as it was good last. A file that turns bad keeps meaning what it meant: a slip
// while editing must not close a shop. Pure; called by manifest-folder.ts.
import type { Problem } from "../../shared/result.ts";
import { share } from "../ir/sharing.ts";
import { readDocuments, type ManifestDocument } from "./manifest-documents.ts";
import { readSiteObject, unknownKindCode, type SiteObject } from "./site-object.ts";

export interface PlacedObject {
  readonly object: SiteObject;
  /** As a person finds it: `shop.yaml`. */
  readonly file: string;
  readonly line: number;
  readonly lineOf: (field: string) => number;
}

export interface ManifestFile {
  readonly file: string;
  readonly text: string;
  /** Whose objects are in force; undefined: it was never good. */
  readonly goodText: string | undefined;
  /** What is in force. */
  readonly objects: readonly PlacedObject[];
  /** The text is as good as what is in force. */
  readonly good: boolean;
  readonly problems: readonly Problem[];
}

export function readManifestFile(file: string, text: string, last: ManifestFile | undefined): ManifestFile {
  if (last?.text === text) return last;
  // an editor that empties a file before it writes it must not withdraw what is in it
  if (text.trim() === "" && last !== undefined && last.objects.length > 0) {
    return stays(file, text, last, [
      problem(file, 1, "ISTHMUS_MANIFEST", "is empty; delete the file to withdraw what was in it"),
    ]);
  }
  const documents = readDocuments(file, text);
  if (!documents.ok) return stays(file, text, last, documents.error);
  const read = documents.value.map((document) => readDocument(file, document, last));
  const problems = read.flatMap((each) => each.problems);
  const objects = read.flatMap((each) => each.objects);
  const good = problems.every(({ code }) => code === unknownKindCode);
  return good || last === undefined
    ? { file, text, goodText: good ? text : undefined, objects, good, problems }
    : stays(file, text, last, problems);
}

function stays(file: string, text: string, last: ManifestFile | undefined, problems: readonly Problem[]): ManifestFile {
  return { file, text, goodText: last?.goodText, objects: last?.objects ?? [], good: false, problems };
}

function readDocument(
  file: string,
  document: ManifestDocument,
  last: ManifestFile | undefined,
): Pick<ManifestFile, "objects" | "problems"> {
  const { value, lineOf } = document;
  const read = readSiteObject(value);
  if (!read.ok) {
    const problems = read.error.map(({ code, field = "", message }) =>
      problem(file, lineOf(field), code, `${field === "" || code === unknownKindCode ? "" : `${field} `}${message}`),
    );
    return { objects: [], problems };
  }
  if (read.value?.record === undefined) return { objects: [], problems: [] };
  const { kind, record } = read.value;
  const known = last?.objects.find(({ object }) => object.kind === kind && isNamed(object, record))?.object.record;
  return {
    objects: [{ object: { kind, record: share(known, record) }, file, line: lineOf("kind"), lineOf }],
    problems: [],
  };
}

function isNamed({ record }: SiteObject, other: { readonly namespace: string; readonly name: string }): boolean {
  return record?.namespace === other.namespace && record.name === other.name;
}

function problem(file: string, line: number, code: string, message: string): Problem {
  return { code, message: `${file}:${line}: ${message}` };
}
