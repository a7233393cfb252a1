// v1 Namespace -> NamespaceRecord: is it in the mesh, may anything be made in it, and what its author says about injection.
import type { Result } from "../../../shared/result.ts";
import { readObject } from "./field-reader.ts";
import { entryOf, isBeingDeleted, labelName, readAnnotations, readLabels, readName } from "./metadata.ts";

export interface NamespaceRecord {
  readonly name: string;
  /** Opted in, by our label or by OSM's (`osm namespace add` sets it to the mesh's name). */
  readonly meshed: boolean;
  /** Nothing can be created in a namespace that is going. */
  readonly terminating: boolean;
  /** Annotations under `isthmus.dev/` and `openservicemesh.io/` only: what the injector reads. */
  readonly annotations: Readonly<Record<string, string>>;
}

const ours = /^(isthmus\.dev|openservicemesh\.io)\//;

export function parseNamespace(object: unknown): Result<NamespaceRecord> {
  return readObject(object, (root) => {
    const labels = readLabels(root);
    return {
      name: readName(root.at("metadata").at("name")),
      meshed: entryOf(labels, labelName.inject) === "enabled" || Object.hasOwn(labels, labelName.osmMonitored),
      terminating: isBeingDeleted(root),
      annotations: Object.fromEntries(Object.entries(readAnnotations(root)).filter(([key]) => ours.test(key))),
    };
  });
}
