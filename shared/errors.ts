// The one error class that reaches a person: a stable code, what happened, the probable cause and the next step.
// Thrown at the edge of a command; the CLI prints it as one line and exits with status 1.

export interface UserErrorDetails {
  /** Probable cause, one clause. */
  readonly cause?: unknown;
  readonly hint?: string;
}

/** `code` such as `ISTHMUS_TOKEN_EXPIRED`: stable across releases, listed in docs/errors.md. */
export class UserError extends Error {
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, details: UserErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "UserError";
    this.code = code;
    this.hint = details.hint;
  }
}
