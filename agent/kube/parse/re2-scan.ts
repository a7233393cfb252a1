// The reading position of one pattern check, and the way out of it. Used by re2-syntax.ts and re2-class.ts only.

/** The reading position: shared by the functions of one check. */
export interface Scan {
  readonly text: string;
  position: number;
  depth: number;
}

/** Leaves the recursive descent; never leaves checkRe2. */
export class PatternError extends Error {}

export function fail(message: string, position: number): never {
  throw new PatternError(`${message} at ${position}`);
}
