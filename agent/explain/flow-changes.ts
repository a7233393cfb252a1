// What differs between two policies, flow by flow: the answer of `isthmus policy try`. A call that a split leads elsewhere is let through
// where it arrives or it is not, so each flow is compared with what those grant who take a share of it in the other policy. Pure.
import type { MeshIr } from "../ir/types.ts";
import { calledPorts, type CalledPort, type Flow, type FlowCaller, type FlowContent, type PortSides } from "./flows.ts";

export interface FlowChange {
  readonly effect: "allowed" | "cut";
  /** As a cut share: to the account that takes it and does not grant it, by the split. */
  readonly flow: Flow;
  /** What this caller may say to this port in the other policy, when it is another thing: an expression may cover another unseen. */
  readonly beside: readonly Flow[];
  /** Of calls that a split leads elsewhere: the account that does not let its share through. */
  readonly share?: string;
}

function callerCovers(wide: FlowCaller, narrow: FlowCaller): boolean {
  if (wide === "any") return true;
  if (narrow === "any") return false;
  const sameName = wide.namespace === narrow.namespace && wide.serviceAccount === narrow.serviceAccount;
  // an account of another fleet is another one, whatever its member is called
  return sameName && wide.fleet === narrow.fleet && (wide.cluster === "*" || wide.cluster === narrow.cluster);
}

/** Every path begins with a slash. */
const anyPath: ReadonlySet<string> = new Set(["", ".*", "/", "/.*"]);
const plainText = /^[A-Za-z0-9/_-]+$/;

/** By what is written: any path, the same expression, or plain text that the other must begin with. Nothing else is looked for. */
function pathCovers(wide: string, narrow: string): boolean {
  if (anyPath.has(wide) || wide === narrow) return true;
  if (!plainText.test(wide) || !narrow.startsWith(wide) || narrow.includes("|")) return false;
  // the last character may be a repetition's, which can be none at all
  return !["?", "*", "{"].includes(narrow.charAt(wide.length));
}

function contentCovers(wide: FlowContent, narrow: FlowContent): boolean {
  if (wide === narrow || wide === "any-request") return true;
  if (typeof wide === "string" || typeof narrow === "string") return false;
  const path = pathCovers(wide.pathRegex, narrow.pathRegex);
  const methods =
    wide.methods.length === 0 ||
    (narrow.methods.length > 0 && narrow.methods.every((method) => wide.methods.includes(method)));
  const headers = wide.headers.every(({ name, valueRegex }) =>
    narrow.headers.some((header) => header.name === name && header.valueRegex === valueRegex),
  );
  return path && methods && headers;
}

/** One port before and after, or after and before: what `was` lets through and `is` does not. */
interface Compared {
  readonly effect: FlowChange["effect"];
  readonly was: CalledPort;
  readonly is: CalledPort;
}

/** Who takes a share of a flow's calls in `is` and took none of them in `was`, its own taker aside. */
function otherTakers({ was, is }: Compared, { caller, taker }: Flow): readonly (readonly [string, string])[] {
  if (was.split === undefined && is.split === undefined) return [];
  const now = [...is.takersOf(caller)].filter(([key]) => key !== taker);
  const bothSplit = was.split !== undefined && is.split !== undefined;
  // by other matches each call may go to any of them
  const matchesDiffer = bothSplit && JSON.stringify(was.split.matches) !== JSON.stringify(is.split.matches);
  if (matchesDiffer || !is.takers.has(taker)) return now;
  const before = was.takersOf(caller);
  return now.filter(([key]) => !before.has(key));
}

function lostFlow(compared: Compared, flow: Flow): readonly FlowChange[] {
  const { effect, was, is } = compared;
  const rest = is.flows.filter((other) => callerCovers(other.caller, flow.caller));
  const grantedBy = (taker: string) => rest.filter((other) => other.taker === taker);
  const isRefused = (taker: string) => !grantedBy(taker).some(({ content }) => contentCovers(content, flow.content));
  const isGone = is.takers.size === 0 && !is.elsewhere;
  const own: FlowChange = { effect, flow, beside: grantedBy(flow.taker) };
  const split = (is.split ?? was.split)?.origin ?? flow.by;
  const shares = otherTakers(compared, flow)
    .filter(([taker]) => isRefused(taker))
    .map(([taker, share]): FlowChange => {
      const beside = grantedBy(taker);
      return { effect, flow: effect === "cut" ? { ...flow, account: share, by: split } : flow, beside, share };
    });
  return [...(isGone || (is.takers.has(flow.taker) && isRefused(flow.taker)) ? [own] : []), ...shares];
}

const nobody: CalledPort = {
  ...{ split: undefined, elsewhere: false, flows: [] },
  ...{ takers: new Map(), takersOf: () => new Map() },
};

function changeKey({ flow, share }: FlowChange): string {
  return JSON.stringify({ ...flow, taker: "", share });
}

/** Of every member's account, what is lost to this member's alone says so; what is lost to all is said once. */
function merged(own: readonly FlowChange[], others: readonly FlowChange[], cluster: string): readonly FlowChange[] {
  const ofOthers = new Set(others.map(changeKey));
  const narrowed = own.map((change): FlowChange => {
    const { caller } = change.flow;
    if (caller === "any" || caller.cluster !== "*" || ofOthers.has(changeKey(change))) return change;
    return { ...change, flow: { ...change.flow, caller: { ...caller, cluster } } };
  });
  const byKey = new Map<string, FlowChange>();
  for (const change of [...narrowed, ...others]) {
    const key = changeKey(change);
    if (!byKey.has(key)) byKey.set(key, change);
  }
  return [...byKey.values()];
}

type Ports = ReadonlyMap<string, PortSides>;

function lost(from: Ports, to: Ports, effect: FlowChange["effect"], cluster: string): readonly FlowChange[] {
  const changes = (was: CalledPort | undefined, is: CalledPort = nobody) =>
    was === undefined ? [] : was.flows.flatMap((flow) => lostFlow({ effect, was, is }, flow));
  return [...from].flatMap(([key, { own, others }]) => {
    const next = to.get(key);
    // an import without a split is its members' business
    if (others === undefined && own.split === undefined && next?.own.split === undefined) return [];
    return merged(changes(own, next?.own), changes(others, next?.others), cluster);
  });
}

/** What `after` cuts of `before`, then what it lets through in addition. */
export function flowChanges(before: MeshIr, after: MeshIr): readonly FlowChange[] {
  const [old, next] = [calledPorts(before), calledPorts(after)];
  return [...lost(old, next, "cut", after.cluster), ...lost(next, old, "allowed", after.cluster)];
}
