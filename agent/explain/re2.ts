// RE2 expressions matched in linear time by re2js (MIT), a port of RE2's automata: a user's pattern is never JavaScript's to run.
// Loaded at the first question, since an agent that is asked nothing needs none of it.
import type { MatchesRegex } from "./server.ts";

/** Compiled patterns kept; one question asks about the same few for every server. */
const MAX_KEPT = 1_000;

export async function loadRe2(): Promise<MatchesRegex> {
  const { RE2JS } = await import("re2js");
  const compiled = new Map<string, (text: string) => boolean>();
  return (regex, text) => {
    let matches = compiled.get(regex);
    if (matches === undefined) {
      const pattern = RE2JS.compile(regex);
      matches = (value) => pattern.matches(value);
      if (compiled.size >= MAX_KEPT) compiled.clear();
      compiled.set(regex, matches);
    }
    return matches(text);
  };
}
