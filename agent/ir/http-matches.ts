// One HTTPRouteGroup's matches in the form the wire knows: methods as a set, header names in lower case. Regexes are only
// carried (they are RE2 and would mean something else in JavaScript). Called by resolved-target.ts.
import type { HttpMatchInput, HttpRouteGroupInput } from "./inputs.ts";
import { compareText, sortedUnique } from "./order.ts";
import type { HttpMatchIr } from "./types.ts";

/** HTTP/2 has no Host field: RFC 9113 8.3.1 carries it as `:authority`, and so does Envoy for HTTP/1. */
function headerName(name: string): string {
  const lower = name.toLowerCase();
  return lower === "host" ? ":authority" : lower;
}

function httpMatch(match: HttpMatchInput): HttpMatchIr {
  const headers = match.headers.map(({ name, valueRegex }) => ({ name: headerName(name), valueRegex }));
  return {
    pathRegex: match.pathRegex,
    methods: match.methods.includes("*") ? [] : sortedUnique(match.methods.map((method) => method.toUpperCase())),
    headers: headers.sort((a, b) => compareText(a.name, b.name) || compareText(a.valueRegex, b.valueRegex)),
  };
}

/** In the group's order; undefined where a match may not be used. */
export function resolveMatches(group: HttpRouteGroupInput): readonly (HttpMatchIr | undefined)[] {
  return group.matches.map(httpMatch);
}
