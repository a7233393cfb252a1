// Every flow that a member's policy lets through: what `isthmus policy try` compares. A flow is caller, service port and what may be
// said over it, to one of the accounts that take a share of these calls; flows come from the functions that verdicts and the
// translation use. Pure.
import { accountKey, grantsPort, grantsTo, opensHttp, opensTcp } from "../ir/grants.ts";
import { isPermissive } from "../ir/modes.ts";
import { protocolFamily } from "../ir/protocols.ts";
import type { GrantIr, HttpMatchIr, LocalEndpoint, MeshIr, Origin, ServiceIr, SourceIr, SplitIr } from "../ir/types.ts";
import { reachableFrom } from "../xds/reachable.ts";
import { meshView, type PortView } from "../xds/service-ports.ts";
import { chosenPods } from "../xds/visibility.ts";
import { dividedPort } from "./takers.ts";

/** "any": whoever may connect at all. */
export type FlowCaller = "any" | SourceIr;

export type FlowContent = "tcp" | "any-request" | HttpMatchIr;

export interface Flow {
  readonly caller: FlowCaller;
  /** "fleet": the import, as callers of this member reach it. */
  readonly scope: ServiceIr["scope"];
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  /** Of the server, as namespace/name. */
  readonly account: string;
  /** That account at one port of its pods: whose share of the calls it is. */
  readonly taker: string;
  readonly content: FlowContent;
  /** The target that grants it, or the mode. */
  readonly by: Origin;
}

/** One service port, as callers of one side reach it: this member's by its splits, others' by the gateway. */
export interface CalledPort {
  /** Of this side's callers. */
  readonly split: SplitIr | undefined;
  /** Pods of other members take a share: what they grant is theirs to say. */
  readonly elsewhere: boolean;
  readonly flows: readonly Flow[];
  /** Whoever takes a share of anybody's calls, and the account of each. */
  readonly takers: ReadonlyMap<string, string>;
  /** Whoever takes a share of this caller's. */
  readonly takersOf: (caller: FlowCaller) => ReadonlyMap<string, string>;
}

export interface PortSides {
  readonly own: CalledPort;
  /** Undefined: an import, which others have of their own. */
  readonly others: CalledPort | undefined;
}

function contentsOf(grant: GrantIr, isHttp: boolean): readonly FlowContent[] {
  if (!isHttp) return ["tcp"];
  return grant.http === "any" ? ["any-request"] : grant.http;
}

type IsCaller = (source: SourceIr) => boolean;

function isOwn({ cluster: here }: MeshIr): IsCaller {
  return ({ cluster, fleet }) => fleet === undefined && (cluster === "*" || cluster === here);
}

/** Other members reach exported ports alone, a revoked one reaches nothing; another fleet comes in by a door of each sidecar. */
function isOther(ir: MeshIr): (exported: boolean) => IsCaller {
  const peers = new Set<string>(ir.peers.map(({ cluster }) => cluster));
  const fleets = new Set<string>(ir.foreignFleets?.map(({ fleetDomain }) => fleetDomain));
  return (exported) =>
    ({ cluster, fleet }) =>
      fleet === undefined ? exported && (cluster === "*" || peers.has(cluster)) : fleets.has(fleet);
}

interface Called {
  readonly ir: MeshIr;
  readonly view: PortView;
  readonly isCaller: IsCaller;
}

function takersAmong(namespace: string, pods: readonly LocalEndpoint[]): ReadonlyMap<string, string> {
  return new Map(
    pods
      .filter(({ meshed }) => meshed)
      .map(({ serviceAccount, port }) => [
        `${namespace}/${serviceAccount}:${port}`,
        accountKey(namespace, serviceAccount),
      ]),
  );
}

function flowsTo({ ir, view, isCaller }: Called, pods: readonly LocalEndpoint[]): readonly Flow[] {
  const { service, port } = view;
  const { namespace, scope } = service;
  const isHttp = protocolFamily(port.protocol) === "http";
  return [...Map.groupBy(pods, ({ serviceAccount, port: at }) => `${namespace}/${serviceAccount}:${at}`)].flatMap(
    ([taker, [pod]]): readonly Flow[] => {
      if (pod === undefined) return [];
      const { serviceAccount, port: at } = pod;
      const account = accountKey(namespace, serviceAccount);
      const place = { scope, namespace, service: service.name, port: port.port, account, taker };
      if (isPermissive(ir, namespace)) {
        const by = { kind: "permissive mode", namespace: "", name: namespace };
        return [{ ...place, caller: "any", content: isHttp ? "any-request" : "tcp", by }];
      }
      const grants = grantsTo(ir.grants, { namespace, serviceAccount }).filter((grant) =>
        isHttp ? opensHttp(grant) && grantsPort(grant, at) : opensTcp(grant, at),
      );
      return grants.flatMap((grant) =>
        grant.sources
          .filter(isCaller)
          .flatMap((caller) =>
            contentsOf(grant, isHttp).map((content) => ({ ...place, caller, content, by: grant.origin })),
          ),
      );
    },
  );
}

/** Views whose pods take the calls of this member's callers. */
function takingViews({ ir, view }: Called): {
  readonly split: SplitIr | undefined;
  readonly views: readonly PortView[];
} {
  const divided = dividedPort(ir, view);
  if (divided === undefined) return { split: undefined, views: [view] };
  const { split, weights } = divided;
  const isHttp = protocolFamily(view.port.protocol) === "http";
  // what is not matched goes to the root, and so does a call that names one pod of a headless service
  const root = split.matches !== "all" || (view.byAddress && isHttp) ? [view] : [];
  const backends = split.matches === "all" || split.matches.length > 0 ? [...weights.keys()] : [];
  return { split, views: [...new Set([...root, ...backends])] };
}

function calledByOwn(called: Called): CalledPort {
  const { ir, view } = called;
  const { namespace } = view.service;
  const { split, views } = takingViews(called);
  const pods = views.flatMap(({ meshed }) => meshed);
  const takers = takersAmong(namespace, pods);
  return {
    ...{ split, takers },
    elsewhere: views.some(({ port }) => port.remote.length > 0),
    flows: flowsTo(called, pods),
    takersOf: (caller) => {
      if (caller === "any") return takers;
      const reachable = new Set(reachableFrom(ir, caller).accounts);
      return takersAmong(
        namespace,
        views.flatMap((each) => chosenPods(each, reachable)),
      );
    },
  };
}

function calledByOthers(called: Called): CalledPort {
  const { service, meshed } = called.view;
  const takers = takersAmong(service.namespace, meshed);
  const flows = flowsTo(called, meshed);
  return { split: undefined, elsewhere: false, flows, takers, takersOf: () => takers };
}

/** By service, as ServiceIr.key has it, and port. */
export function calledPorts(ir: MeshIr): ReadonlyMap<string, PortSides> {
  const exports = new Set(
    ir.exportPorts.map(({ namespace, service, port }) => `cluster/${namespace}/${service}:${port}`),
  );
  const [own, other] = [isOwn(ir), isOther(ir)];
  return new Map(
    meshView(ir).ports.map((view) => {
      const key = `${view.service.key}:${view.port.port}`;
      const isImport = view.service.scope === "fleet";
      return [
        key,
        {
          own: calledByOwn({ ir, view, isCaller: own }),
          others: isImport ? undefined : calledByOthers({ ir, view, isCaller: other(exports.has(key)) }),
        },
      ];
    }),
  );
}
