// Expected failures are values. `Result` is what a parser or checker returns; `Problem` is what a user reads.
// Unexpected failures are thrown (with `cause`) and end the task: never turn one into a Problem.

export type Result<T, E = readonly Problem[]> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E };

/** The object a problem is about, as a user names it. `kind` is a Kubernetes kind or a noun of ours. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

/**
 * One mistake, said so that its author can mend it. `code` is stable and searchable (docs/errors.md);
 * `field` is a path such as `spec.rules[0].matches[1]`; `message` is lower-case without a full stop.
 */
export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly object?: ObjectRef;
  readonly field?: string;
}

export function ok<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function err<E>(error: E): { readonly ok: false; readonly error: E } {
  return { ok: false, error };
}

/** One problem as a rejected result: the commonest way out of a parser. */
export function rejected(
  code: string,
  message: string,
  field?: string,
): { readonly ok: false; readonly error: readonly Problem[] } {
  return err([field === undefined ? { code, message } : { code, message, field }]);
}
