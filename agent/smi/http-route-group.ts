// HTTPRouteGroup v1alpha1 (no `spec`, no headers), v1alpha2 (no `spec`), v1alpha3 and v1alpha4. Headers stay in the form in
// which they were written, one map or a list of maps: every version takes both.
import { fieldOf, isObject, stringOf, type JsonObject } from "../kube/json.ts";
import { ok } from "../../shared/result.ts";
import type { Conversion, Converted } from "./conversion.ts";
import { listOf, mapOf, without } from "./fields.ts";

export const httpRouteGroupConversion: Conversion = {
  up: (version, from) => {
    if (version === "v1alpha3") return ok(from);
    const whole = version === "v1alpha1" ? withHeaders(from) : from;
    const { matches } = whole.object;
    const spec = matches === undefined ? {} : { matches };
    return ok({ object: { ...without(whole.object, "matches"), spec }, kept: whole.kept });
  },
  down: (version, from) => {
    if (version === "v1alpha3") return from;
    const matches = fieldOf(from.object, "spec", "matches");
    const body = matches === undefined ? {} : { matches };
    const flat = { object: { ...without(from.object, "spec"), ...body }, kept: from.kept };
    return version === "v1alpha1" ? withoutHeaders(flat) : flat;
  },
};

/** Names and headers of the matches that have any, in order. */
type Named = readonly (readonly [string, unknown])[];

function withoutHeaders({ object, kept }: Converted): Converted {
  const matches = listOf(object["matches"]);
  const headers: Named = matches
    .filter((match) => fieldOf(match, "headers") !== undefined)
    .map((match) => [stringOf(fieldOf(match, "name")), fieldOf(match, "headers")]);
  if (headers.length === 0) return { object, kept };
  const plain = matches.map((match) => (isObject(match) ? without(match, "headers") : match));
  // the places of repeated names too: they are a mistake, but their author's
  return { object: { ...object, matches: plain }, kept: { ...kept, v1alpha4: { headers, places: placesOf(matches) } } };
}

function placesOf(matches: readonly unknown[]): readonly number[] {
  const occurrence = counter();
  return matches.flatMap((match) => {
    const place = occurrence(stringOf(fieldOf(match, "name")));
    return fieldOf(match, "headers") === undefined ? [] : [place];
  });
}

/** A match that is still there keeps its headers: an author who cannot see a restriction must not take it away. */
function withHeaders({ object, kept }: Converted): Converted {
  const { v1alpha4: newest, ...others } = kept;
  const places = listOf(fieldOf(newest, "places"));
  const named = listOf(fieldOf(newest, "headers")).flatMap((entry, index) => {
    const [name, headers] = listOf(entry);
    return typeof name === "string" && headers !== undefined ? [[`${name}#${String(places[index])}`, headers]] : [];
  });
  if (named.length === 0 || !Array.isArray(object["matches"])) return { object, kept: others };
  const byPlace = new Map<unknown, unknown>(named.map(([key, headers]) => [key, headers]));
  const occurrence = counter();
  const matches = listOf(object["matches"]).map((match): unknown => {
    const name = stringOf(fieldOf(match, "name"));
    const headers = byPlace.get(`${name}#${occurrence(name)}`);
    return headers === undefined || !isObject(match) ? match : { ...mapOf(match), headers };
  });
  return { object: { ...object, matches } satisfies JsonObject, kept: others };
}

/** How many of this name came before. */
function counter(): (name: string) => number {
  const seen = new Map<string, number>();
  return (name) => {
    const before = seen.get(name) ?? 0;
    seen.set(name, before + 1);
    return before;
  };
}
