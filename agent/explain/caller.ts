// The caller's half of a verdict: what its own sidecar makes of a call before any server is asked. What a caller sees is what the
// translation shows it (xds/visibility): the very functions, not a copy. `inputs` only name what is missing; they decide nothing. Pure.
import { allowsEgress } from "../ir/egress.ts";
import { grantsTo, type Account } from "../ir/grants.ts";
import type { MeshInputs } from "../ir/inputs.ts";
import { isPermissive } from "../ir/modes.ts";
import { objectKey } from "../ir/order.ts";
import { protocolFamily } from "../ir/protocols.ts";
import type { GrantIr, LocalEndpoint, MeshIr, Origin, RemoteBackend } from "../ir/types.ts";
import { reachableFrom } from "../xds/reachable.ts";
import { meshView, type PortView } from "../xds/service-ports.ts";
import { visibleByGrants, type VisiblePort } from "../xds/visibility.ts";
import type { SeenHttp } from "./request.ts";
import { matchesHttp, type MatchesRegex } from "./server.ts";
import { dividedPort } from "./takers.ts";

export interface CallTarget {
  readonly namespace: string;
  readonly name: string;
  /** "cluster": the Service of the caller's member; "fleet": the import. Absent: the Service where there is one, else the import. */
  readonly scope?: "cluster" | "fleet";
  /** Absent: the only port, or 80. */
  readonly port?: number;
}

export type CallerStop =
  /** Nothing of this name can be called here. */
  | "no-service"
  /** No member exports it. */
  | "not-exported"
  /** Exported, but the namespace does not exist here, so there is no import. */
  | "no-import"
  | "no-port"
  /** No grant to any account behind the service: the caller's sidecar answers 403, or closes. */
  | "no-grant"
  /** Nobody could answer: no pod, and no member with a gateway. */
  | "unserved"
  /** Its pods have no sidecar: nothing of the mesh speaks for it. */
  | "caller-not-meshed"
  /** What is called is no service of the mesh, and the caller's namespace lets nothing out. */
  | "no-egress";

export interface CallerFacts {
  readonly message: string;
  readonly object?: Origin;
  readonly next?: string;
}

/** The mesh that is pushed to proxies, and what it was made from: `inputs` name what is missing. */
export interface Standing {
  readonly ir: MeshIr;
  readonly inputs: MeshInputs;
}

type Sent = Extract<CallerVerdict, { readonly kind: "sent" }>;

/** The called pods have no sidecar; the called namespace is not in the mesh; the caller has no sidecar. */
type Outside = "outside-mesh" | "namespace-not-in-mesh" | "plaintext";

export type CallerVerdict =
  | ({ readonly kind: "stopped"; readonly why: CallerStop } & CallerFacts)
  /** No sidecar on one side, and the other does not mind: the call goes as if there were no mesh. */
  | ({ readonly kind: "outside"; readonly why: Outside } & CallerFacts)
  | {
      readonly kind: "sent";
      readonly view: PortView;
      /** One, or the backends of the split that takes the call, each with its weight. */
      readonly legs: readonly Leg[];
      /** The TrafficSplit that divides the call. */
      readonly split: Origin | undefined;
      /** True when nothing with this account runs here now: what is said is what policy would say. */
      readonly absent: boolean;
    };

/** Where a call may go. */
export interface Leg {
  readonly view: PortView;
  /** Pods of this member that may be chosen. */
  readonly local: readonly LocalEndpoint[];
  readonly remote: readonly RemoteBackend[];
  readonly weight: number;
}

/** What a split's matches are asked about; a call that is no HTTP request has none. */
export interface CallContent {
  readonly request: SeenHttp;
  readonly matches: MatchesRegex;
}

function stopped(why: CallerStop, message: string, rest: Omit<CallerFacts, "message"> = {}): CallerVerdict {
  return { kind: "stopped", why, message, ...rest };
}

const text = ({ namespace, serviceAccount }: Account) => `${namespace}/${serviceAccount}`;

function isAccount(account: Account): (of: Account) => boolean {
  return ({ namespace, serviceAccount }) =>
    namespace === account.namespace && serviceAccount === account.serviceAccount;
}

/** What is no service of the mesh is called as if there were none, from where anything may leave. */
function leaving(ir: MeshIr, caller: Account, why: Outside, facts: CallerFacts): CallerVerdict {
  if (allowsEgress(ir, caller.namespace)) return { kind: "outside", why, ...facts };
  const message = `${facts.message}, and namespace ${caller.namespace} lets nothing out that is no service of the mesh`;
  return stopped("no-egress", message, {
    object: { kind: "Namespace", namespace: "", name: caller.namespace },
    next: `kubectl annotate namespace ${caller.namespace} isthmus.dev/egress=true --overwrite`,
  });
}

/** Why the mesh here has no service of this name. */
function noService({ ir, inputs }: Standing, caller: Account, { namespace, name, scope }: CallTarget): CallerVerdict {
  const key = `${namespace}/${name}`;
  const own = inputs.services.find((service) => objectKey(service) === key && service.importOf === "");
  if (own !== undefined && scope !== "fleet" && !inputs.meshNamespaces.includes(namespace)) {
    return leaving(ir, caller, "namespace-not-in-mesh", {
      message: `service ${key} exists in ${ir.cluster}, but its namespace is not in the mesh`,
      object: { kind: "Namespace", namespace: "", name: namespace },
      next: `kubectl label namespace ${namespace} isthmus.dev/inject=enabled`,
    });
  }
  const exporters = inputs.remote.filter((record) => record.kind === "service" && objectKey(record) === key);
  const [exporter] = exporters;
  if (exporter !== undefined && scope !== "cluster") {
    return stopped("no-import", `${exporter.cluster} exports ${key}, but ${ir.cluster} has no namespace ${namespace}`, {
      object: { kind: "ServiceImport", namespace, name },
      next: `kubectl create namespace ${namespace}`,
    });
  }
  if (scope === "fleet" || own === undefined) {
    return stopped("not-exported", `no service ${key} in ${ir.cluster}, and no member exports one`, {
      object: { kind: "ServiceExport", namespace, name },
      next: `a ServiceExport ${key} in the member that has the service`,
    });
  }
  return stopped("no-service", `service ${key} has no TCP port`, { object: { kind: "Service", namespace, name } });
}

function portNamed(views: readonly PortView[], port: number | undefined): PortView | undefined {
  if (port !== undefined) return views.find((view) => view.port.port === port);
  return views.length === 1 ? views[0] : views.find((view) => view.port.port === 80);
}

/** Grants that would be this caller's, were it for one thing: they lead to the service's accounts. */
function grantsNear(ir: MeshIr, view: PortView): readonly GrantIr[] {
  return view.accounts.flatMap((key) => {
    const [namespace = "", serviceAccount = ""] = key.split("/");
    return grantsTo(ir.grants, { namespace, serviceAccount });
  });
}

function refused(ir: MeshIr, caller: Account, view: PortView): CallerVerdict {
  const { service, port } = view;
  const where = `${service.namespace}/${service.name}:${port.port}`;
  if (view.accounts.length === 0) {
    return stopped(
      "unserved",
      `${where} has no pod with a sidecar, and nothing grants ${text(caller)} a call into ${service.namespace}`,
      {
        object: service.origin,
      },
    );
  }
  const near = grantsNear(ir, view);
  const others = near.length === 0 ? "" : `; those to it: ${near.map(({ origin }) => objectKey(origin)).join(", ")}`;
  const accounts = view.accounts.join(", ");
  return stopped(
    "no-grant",
    `no TrafficTarget of ${ir.cluster} has source ${text(caller)} and destination ${accounts}${others}`,
    {
      object: { kind: "TrafficTarget", namespace: service.namespace, name: "" },
      next: `a TrafficTarget in ${service.namespace} with source ${text(caller)} and destination ${accounts}`,
    },
  );
}

/** Whether the split of the root takes this call; what it does not match goes to the root itself, and so does raw TCP. */
function isSplit({ split, port }: PortView, { request, matches }: CallContent): boolean {
  if (split === undefined) return false;
  if (split.matches === "all") return true;
  if (protocolFamily(port.protocol) === "tcp") return false;
  return split.matches.some((match) => matchesHttp(match, request, matches));
}

function legOf({ view, local }: VisiblePort, weight: number): Leg {
  return { view, local, remote: view.port.remote, weight };
}

/** Where the call goes by what the caller is shown: the translation's own answer. Undefined: the port is not shown. */
function legsOf(
  ir: MeshIr,
  caller: Account,
  view: PortView,
  content: CallContent,
): Pick<Sent, "legs" | "split"> | undefined {
  const visible = visibleByGrants(meshView(ir), reachableFrom(ir, caller));
  const seen = visible.ports.find((each) => each.view === view);
  if (seen === undefined) return undefined;
  const divided = dividedPort(ir, view);
  if (divided === undefined || !isSplit(view, content)) return { legs: [legOf(seen, 1)], split: undefined };
  const legs = visible.backends.flatMap((backend) => {
    const weight = divided.weights.get(backend.view);
    return weight === undefined ? [] : [legOf(backend, weight)];
  });
  return { legs, split: divided.split.origin };
}

function withoutSidecar(
  ir: MeshIr,
  inputs: MeshInputs,
  caller: Account,
  target: CallTarget,
): CallerVerdict | undefined {
  const pods = inputs.pods.filter(isAccount(caller));
  const [pod] = pods;
  if (pod === undefined || pods.some(({ meshed }) => meshed)) return undefined;
  const message = `pod ${pod.namespace}/${pod.name} runs as ${text(caller)} without a sidecar`;
  if (isPermissive(ir, target.namespace) && target.scope !== "fleet") {
    return {
      kind: "outside",
      why: "plaintext",
      message: `${message}: ${target.namespace} is permissive and takes plaintext`,
    };
  }
  return stopped("caller-not-meshed", message, {
    object: { kind: "Pod", namespace: pod.namespace, name: pod.name },
    next: `label namespace ${pod.namespace} for injection and restart the pod`,
  });
}

export function callerVerdict(
  standing: Standing,
  caller: Account,
  target: CallTarget,
  content: CallContent,
): CallerVerdict {
  const { ir, inputs } = standing;
  const { namespace, name, scope } = target;
  const bare = withoutSidecar(ir, inputs, caller, target);
  if (bare !== undefined) return bare;
  const services = ir.services.filter((service) => service.namespace === namespace && service.name === name);
  const service = services.find((each) => each.scope === (scope ?? "cluster")) ?? (scope ? undefined : services[0]);
  if (service === undefined || service.ports.length === 0) return noService(standing, caller, target);
  const views = meshView(ir).ports.filter((view) => view.service === service);
  if (views.length === 0) {
    const message = `no pod of ${namespace}/${name} has a sidecar: it is called as if there were no mesh, unencrypted`;
    return leaving(ir, caller, "outside-mesh", { message, object: service.origin });
  }
  const view = portNamed(views, target.port);
  if (view === undefined) {
    const ports = service.ports.map(({ port }) => port).join(", ");
    const asked = target.port === undefined ? "several ports and none of them is 80" : `no port ${target.port}`;
    return stopped("no-port", `${namespace}/${name} has ${asked}: it has ${ports}`, { object: service.origin });
  }
  const found = legsOf(ir, caller, view, content);
  if (found === undefined) return refused(ir, caller, view);
  if (found.legs.every(({ local, remote }) => local.length === 0 && remote.length === 0)) return unserved(inputs, view);
  return { kind: "sent", view, ...found, absent: !inputs.pods.some(isAccount(caller)) };
}

function unserved(inputs: MeshInputs, { service, port }: PortView): CallerVerdict {
  const where = `${service.namespace}/${service.name}:${port.port}`;
  const exporters = inputs.remote.filter(
    (record) => record.kind === "service" && objectKey(record) === objectKey(service),
  );
  const unreachable = exporters.filter(
    ({ cluster }) =>
      !inputs.remote.some(
        (record) => record.kind === "gateway" && record.cluster === cluster && record.addresses.length > 0,
      ),
  );
  const [first] = unreachable;
  const why =
    first === undefined
      ? "no pod with a sidecar answers it"
      : `${first.cluster} exports it and has no gateway that can be reached`;
  return stopped("unserved", `${where}: ${why} (503)`, {
    object: first === undefined ? service.origin : { kind: "Member", namespace: "", name: first.cluster },
    next: first === undefined ? `isthmus services` : `isthmus clusters: gateways of ${first.cluster}`,
  });
}
