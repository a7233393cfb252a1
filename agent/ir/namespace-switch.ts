// A switch of the mesh that a Namespace may set for what is in it, and the agent's own Namespace for the whole member: permissive mode
// (modes.ts) and egress (egress.ts). Pure. It must fail closed: a word that is neither "true" nor "false" counts as "false".
import type { Problem } from "../../shared/result.ts";
import { sortedUnique } from "./order.ts";

/** What one Namespace says of it, as written: "true" or "false", or a mistake. */
export interface NamespaceWord {
  readonly namespace: string;
  readonly word: string;
}

export interface NamespaceSwitch {
  /** Of every namespace but the exceptions. */
  readonly on: boolean;
  /** Namespaces of the other position, sorted. */
  readonly exceptions: readonly string[];
}

/** The namespace's own word counts first, then that on the agent's namespace, then the configuration. */
export function namespaceSwitch(
  words: readonly NamespaceWord[],
  systemNamespace: string | undefined,
  configured: boolean,
): NamespaceSwitch {
  const whole = words.find(({ namespace }) => namespace === systemNamespace);
  const on = whole === undefined ? configured : whole.word === "true";
  const others = words.filter(({ word }) => (word === "true") !== on);
  return { on, exceptions: sortedUnique(others.map(({ namespace }) => namespace)) };
}

/** Where a Namespace's word is a mistake. `meaning`: what it counts as, for a person. */
export function unreadableWords(
  words: readonly NamespaceWord[],
  { code, annotation, meaning }: { readonly code: string; readonly annotation: string; readonly meaning: string },
): readonly Problem[] {
  return words
    .filter(({ word }) => word !== "true" && word !== "false")
    .map(({ namespace, word }) => ({
      code,
      message: `"${word.slice(0, 64)}" is neither "true" nor "false": it counts as "false", ${meaning}`,
      object: { kind: "Namespace", name: namespace },
      field: `metadata.annotations[${annotation}]`,
    }));
}
