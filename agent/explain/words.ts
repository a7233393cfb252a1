// Findings in words: who, what, by which object, and what would be needed. The words of `isthmus explain` and `policy try`. Pure.
import { objectKey } from "../ir/order.ts";
import type { GrantIr, HttpMatchIr, Origin, SourceIr } from "../ir/types.ts";
import type { HttpRouteGroupInput, MeshInputs } from "../ir/inputs.ts";
import { resolveMatches } from "../ir/http-matches.ts";
import type { FlowCaller, FlowContent } from "./flows.ts";

export function originText({ kind, namespace, name }: Origin): string {
  return namespace === "" ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}

export function matchText({ pathRegex, methods, headers }: HttpMatchIr): string {
  const method = methods.length === 0 ? "any method" : methods.join(",");
  const path = pathRegex === "" ? "any path" : `path ${pathRegex}`;
  return [method, path, ...headers.map(({ name, valueRegex }) => `${name}: ${valueRegex}`)].join(" ");
}

export function contentText(content: FlowContent): string {
  if (content === "tcp") return "TCP";
  return content === "any-request" ? "any request" : matchText(content);
}

/** A member of another fleet by its trust domain, as `isthmus.dev/source-fleets` has it. */
export function memberText({ cluster, fleet }: Pick<SourceIr, "cluster" | "fleet">): string {
  return fleet === undefined ? cluster : `${cluster}.${fleet}`;
}

export function callerText(caller: FlowCaller): string {
  if (caller === "any") return "anybody";
  return `${memberText(caller)}/${caller.namespace}/${caller.serviceAccount}`;
}

function isMatchOf(group: HttpRouteGroupInput, match: HttpMatchIr): readonly string[] {
  const wanted = JSON.stringify(match);
  return resolveMatches(group).flatMap((each, index) =>
    each !== undefined && JSON.stringify(each) === wanted ? (group.matches[index]?.name ?? []) : [],
  );
}

/** `HTTPRouteGroup shop/catalog match "read"`: where the target found this match. */
export function matchOrigin(inputs: MeshInputs, grant: GrantIr, match: HttpMatchIr): string {
  const target = inputs.trafficTargets.find((each) => objectKey(each) === objectKey(grant.origin));
  const names = (target?.rules ?? []).flatMap((rule) => {
    if (rule.kind !== "HTTPRouteGroup") return [];
    const group = inputs.httpRouteGroups.find(
      (each) => each.namespace === grant.origin.namespace && each.name === rule.name,
    );
    const found = group === undefined ? [] : isMatchOf(group, match);
    return found
      .filter((name) => rule.matches.length === 0 || rule.matches.includes(name))
      .map((name) => `HTTPRouteGroup ${grant.origin.namespace}/${rule.name} match "${name}"`);
  });
  return names[0] ?? "an HTTPRouteGroup";
}
