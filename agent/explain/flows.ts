// Every flow that a member's policy lets through, and what differs between two policies: the answer of `isthmus policy try`. A flow is
// caller, service port and what may be said over it; flows come from the functions that verdicts and the translation use. Pure.
import { accountKey, grantsPort, grantsTo, opensHttp, opensTcp } from "../ir/grants.ts";
import { isPermissive } from "../ir/modes.ts";
import { protocolFamily } from "../ir/protocols.ts";
import type { GrantIr, HttpMatchIr, MeshIr, Origin } from "../ir/types.ts";
import { meshView, type PortView } from "../xds/service-ports.ts";

/** "any": whoever may connect at all. */
export type FlowCaller =
  "any" | { readonly cluster: string; readonly namespace: string; readonly serviceAccount: string };

export type FlowContent = "tcp" | "any-request" | HttpMatchIr;

export interface Flow {
  readonly caller: FlowCaller;
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  /** Of the server, as namespace/name. */
  readonly account: string;
  readonly content: FlowContent;
  /** The target that grants it, or the mode. */
  readonly by: Origin;
}

export interface FlowChange {
  readonly effect: "allowed" | "cut";
  readonly flow: Flow;
  /** What this caller may say to this port in the other policy, when it is another thing: an expression may cover another unseen. */
  readonly beside: readonly Flow[];
}

function contentsOf(grant: GrantIr, isHttp: boolean): readonly FlowContent[] {
  if (!isHttp) return ["tcp"];
  return grant.http === "any" ? ["any-request"] : grant.http;
}

/** Other members reach exported ports alone; a revoked one reaches nothing. */
function callersOf(ir: MeshIr, grant: GrantIr, exported: boolean): readonly FlowCaller[] {
  const peers = new Set<string>(ir.peers.map(({ cluster }) => cluster));
  return grant.sources.flatMap((source): FlowCaller[] => {
    if (source.cluster === ir.cluster) return [source];
    if (source.cluster === "*") return [exported ? source : { ...source, cluster: ir.cluster }];
    return exported && peers.has(source.cluster) ? [source] : [];
  });
}

function flowsTo(ir: MeshIr, view: PortView, exported: boolean): readonly Flow[] {
  const { service, port, meshed, accounts } = view;
  const isHttp = protocolFamily(port.protocol) === "http";
  const place = { namespace: service.namespace, service: service.name, port: port.port };
  return accounts.flatMap((account): Flow[] => {
    if (isPermissive(ir, service.namespace)) {
      const by = { kind: "permissive mode", namespace: "", name: service.namespace };
      return [{ ...place, account, caller: "any", content: isHttp ? "any-request" : "tcp", by }];
    }
    const pods = meshed.filter((pod) => accountKey(service.namespace, pod.serviceAccount) === account);
    const ports = [...new Set(pods.map((pod) => pod.port))];
    const serviceAccount = account.slice(service.namespace.length + 1);
    const grants = grantsTo(ir.grants, { namespace: service.namespace, serviceAccount }).filter((grant) =>
      ports.some((at) => (isHttp ? opensHttp(grant) && grantsPort(grant, at) : opensTcp(grant, at))),
    );
    return grants.flatMap((grant) =>
      callersOf(ir, grant, exported).flatMap((caller) =>
        contentsOf(grant, isHttp).map((content) => ({ ...place, account, caller, content, by: grant.origin })),
      ),
    );
  });
}

export function flowsOf(ir: MeshIr): readonly Flow[] {
  const exported = new Set(ir.exportPorts.map(({ namespace, service, port }) => `${namespace}/${service}:${port}`));
  return meshView(ir)
    .ports.filter(({ service }) => service.scope === "cluster")
    .flatMap((view) => {
      const { service, port } = view;
      return flowsTo(ir, view, exported.has(`${service.namespace}/${service.name}:${port.port}`));
    });
}

function callerCovers(wide: FlowCaller, narrow: FlowCaller): boolean {
  if (wide === "any") return true;
  if (narrow === "any") return false;
  const sameName = wide.namespace === narrow.namespace && wide.serviceAccount === narrow.serviceAccount;
  return sameName && (wide.cluster === "*" || wide.cluster === narrow.cluster);
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

function placeOf({ namespace, service, port, account }: Flow): string {
  return `${namespace}/${service}:${port} ${account}`;
}

function lost(from: readonly Flow[], to: readonly Flow[], effect: FlowChange["effect"]): readonly FlowChange[] {
  const byPlace = Map.groupBy(to, placeOf);
  return from.flatMap((flow): FlowChange[] => {
    const others = (byPlace.get(placeOf(flow)) ?? []).filter((other) => callerCovers(other.caller, flow.caller));
    if (others.some((other) => contentCovers(other.content, flow.content))) return [];
    return [{ effect, flow, beside: others }];
  });
}

/** What `after` cuts of `before`, then what it lets through in addition. */
export function flowChanges(before: MeshIr, after: MeshIr): readonly FlowChange[] {
  const [old, next] = [flowsOf(before), flowsOf(after)];
  return [...lost(old, next, "cut"), ...lost(next, old, "allowed")];
}
