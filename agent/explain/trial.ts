// A policy that is not applied: the member's inputs with objects put in or taken out, built into a second mesh and compared with the
// one that stands, flow by flow. Nothing of it reaches a proxy. Pure; objects come parsed.
import type { FlowChange as WireChange } from "../../shared/grpc/question-messages.ts";
import type { Problem } from "../../shared/result.ts";
import { buildIr } from "../ir/build.ts";
import type { MeshInputs } from "../ir/inputs.ts";
import { objectKey } from "../ir/order.ts";
import type { Standing } from "./caller.ts";
import { flowChanges, type FlowChange } from "./flow-changes.ts";
import type { Flow } from "./flows.ts";
import { callerText, contentText, originText } from "./words.ts";

/** Lists of inputs that a trial may change, keyed by namespace and name. */
export type TrialList =
  "trafficTargets" | "httpRouteGroups" | "tcpRoutes" | "udpRoutes" | "trafficSplits" | "exports" | "meshConfigs";

export interface TrialObject {
  readonly list: TrialList;
  readonly record: { readonly namespace: string; readonly name: string };
  /** It is taken out instead of put in. */
  readonly remove: boolean;
}

export interface Trial {
  readonly objects: readonly TrialObject[];
  /** What Namespaces would say; `remove`: they would say nothing any more. */
  readonly modes: readonly { readonly namespace: string; readonly permissive: string; readonly remove: boolean }[];
  /** Of the whole member; undefined: as it is. */
  readonly permissive: boolean | undefined;
}

export interface TrialResult {
  readonly changes: readonly FlowChange[];
  /** What the mesh would say of the objects, and does not say now. */
  readonly problems: readonly Problem[];
}

function changedList<T extends { readonly namespace: string; readonly name: string }>(
  list: readonly T[],
  objects: readonly { readonly record: T; readonly remove: boolean }[],
): readonly T[] {
  if (objects.length === 0) return list;
  const keys = new Set(objects.map(({ record }) => objectKey(record)));
  const others = list.filter((each) => !keys.has(objectKey(each)));
  return [...others, ...objects.flatMap(({ record, remove }) => (remove ? [] : [record]))];
}

function changedInputs(inputs: MeshInputs, trial: Trial): MeshInputs {
  const { objects, permissive } = trial;
  // a parser made each record for the list that it is filed under
  const of = <K extends TrialList>(list: K) =>
    objects.filter((each) => each.list === list) as unknown as {
      record: Required<MeshInputs>[K][number];
      remove: boolean;
    }[];
  const lists = {
    trafficTargets: changedList(inputs.trafficTargets, of("trafficTargets")),
    httpRouteGroups: changedList(inputs.httpRouteGroups, of("httpRouteGroups")),
    tcpRoutes: changedList(inputs.tcpRoutes, of("tcpRoutes")),
    // where it is not known which ones there are, nothing is said of them
    ...(inputs.udpRoutes && { udpRoutes: changedList(inputs.udpRoutes, of("udpRoutes")) }),
    trafficSplits: changedList(inputs.trafficSplits, of("trafficSplits")),
    exports: changedList(inputs.exports, of("exports")),
    meshConfigs: changedList(inputs.meshConfigs ?? [], of("meshConfigs")),
  };
  const said = new Set(trial.modes.map(({ namespace }) => namespace));
  const others = (inputs.namespaceModes ?? []).filter(({ namespace }) => !said.has(namespace));
  const modes = [...others, ...trial.modes.filter(({ remove }) => !remove)];
  const changed = { ...inputs, ...lists, namespaceModes: modes };
  return permissive === undefined ? changed : withMode(changed, permissive);
}

/** The configuration's word, and no other for the whole member: neither the agent's Namespace's nor a MeshConfig's. */
function withMode(inputs: MeshInputs, permissive: boolean): MeshInputs {
  const namespaceModes = (inputs.namespaceModes ?? []).filter(({ namespace }) => namespace !== inputs.systemNamespace);
  const meshConfigs = (inputs.meshConfigs ?? []).map((config) => ({ ...config, permissive }));
  return { ...inputs, permissive, namespaceModes, meshConfigs };
}

function problemKey({ code, message, object, field }: Problem): string {
  return JSON.stringify([code, message, object, field]);
}

export function tryPolicy({ ir, inputs }: Standing, trial: Trial): TrialResult {
  const before = new Set(buildIr(inputs, ir).problems.map(problemKey));
  // built apart from the mesh that stands: what is remembered of that one is only read
  const tried = buildIr(changedInputs(inputs, trial), ir);
  const problems = tried.problems.filter((problem) => !before.has(problemKey(problem)));
  return { changes: flowChanges(ir, tried.ir), problems };
}

function flowText({ scope, namespace, service, port }: Flow): string {
  return scope === "fleet" ? `${service}.${namespace}.svc.clusterset.local:${port}` : `${namespace}/${service}:${port}`;
}

function besideText({ effect, beside, share }: FlowChange): string {
  const others = [...new Set(beside.map(({ content }) => contentText(content)))];
  const which = effect === "cut" ? "still granted" : "granted already";
  return [
    ...(share === undefined ? [] : [effect === "cut" ? `the share of ${share}` : `the share of ${share} before`]),
    ...(others.length === 0 ? [] : [`${which}: ${others.join("; ")}`]),
  ].join("; ");
}

export function changeInWords(change: FlowChange): WireChange {
  const { effect, flow } = change;
  return {
    effect,
    caller: callerText(flow.caller),
    service: flowText(flow),
    account: flow.account,
    content: contentText(flow.content),
    by: originText(flow.by),
    beside: besideText(change),
  };
}
