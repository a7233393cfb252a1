// A member's answers to the hub's questions: what its caller's sidecar does, and what its servers' sidecars do, each as findings that
// name the deciding object. Puts verdicts (caller.ts, server.ts) into words; decides nothing of its own. Pure.
import type {
  Backend,
  CallAnswer,
  CallQuestion,
  Finding,
  HttpCall,
  ServeAnswer,
  ServeQuestion,
} from "../../shared/grpc/question-messages.ts";
import { objectKey } from "../ir/order.ts";
import { protocolFamily } from "../ir/protocols.ts";
import type { GrantIr, InboundPortIr, LocalEndpoint, MeshIr } from "../ir/types.ts";
import { callerVerdict, type CallerVerdict, type CallTarget, type Leg, type Standing } from "./caller.ts";
import { seenBySidecars, type CallHttp, type Seen, type SeenHttp } from "./request.ts";
import { serverVerdict, type MatchesRegex, type Principal, type ServerVerdict } from "./server.ts";
import { matchOrigin, matchText, memberText, originText } from "./words.ts";

const nothing: Finding = { outcome: "", why: "", message: "", object: "", next: "", account: "" };

function finding(outcome: Finding["outcome"], why: string, message: string, rest: Partial<Finding> = {}): Finding {
  return { ...nothing, outcome, why, message, ...rest };
}

function scopeOf(text: string): CallTarget["scope"] {
  return text === "cluster" || text === "fleet" ? text : undefined;
}

function targetOf({ targetNamespace: namespace, targetName: name, targetScope, targetPort }: CallQuestion): CallTarget {
  const scope = scopeOf(targetScope);
  return {
    ...{ namespace, name },
    ...(scope === undefined ? {} : { scope }),
    ...(targetPort === 0 ? {} : { port: targetPort }),
  };
}

export function answerCall(standing: Standing, question: CallQuestion, matches: MatchesRegex): CallAnswer {
  const { namespace, serviceAccount, http } = question;
  const call = callOf(http);
  const content = { request: requestOf(seenBySidecars(call), call), matches };
  const verdict = callerVerdict(standing, { namespace, serviceAccount }, targetOf(question), content);
  if (verdict.kind === "sent") return sentAnswer(standing.ir.cluster, `${namespace}/${serviceAccount}`, verdict);
  const { why, message, object, next = "" } = verdict;
  const refusal = why === "unserved" ? "unserved" : "refused";
  const named = object === undefined || object.name === "" ? "" : originText(object);
  return {
    finding: finding(verdict.kind === "outside" ? "outside" : refusal, why, message, { object: named, next }),
    ...{ sent: false, scope: "", port: 0, protocol: "", backends: [] },
  };
}

function sentAnswer(
  cluster: string,
  caller: string,
  { view, legs, split, absent }: Extract<CallerVerdict, { readonly kind: "sent" }>,
): CallAnswer {
  const { service, port } = view;
  const kind = service.scope === "fleet" ? "import" : "service";
  const nobody = absent ? `; nothing runs as ${caller} in ${cluster} now` : "";
  const shares = legs.map((leg) => `${objectKey(leg.view.service)} ${leg.weight}`).join(", ");
  const divided = split === undefined ? "" : `, and ${originText(split)} divides it: ${shares}`;
  const message = `the sidecar of ${caller} sends it to ${kind} ${objectKey(service)}:${port.port}${divided}${nobody}`;
  const object = originText(split ?? service.origin);
  return {
    finding: finding("sent", absent ? "caller-absent" : split === undefined ? "sent" : "split", message, { object }),
    ...{ sent: true, scope: service.scope, port: port.port, protocol: port.protocol },
    backends: legs.flatMap((leg) => backendsOf(cluster, leg)),
  };
}

function backendsOf(cluster: string, { view, local, remote }: Leg): readonly Backend[] {
  const { namespace, name, scope } = view.service;
  const accounts = [...new Set(local.map(({ serviceAccount }) => serviceAccount))].sort();
  const ready = local.filter((pod) => pod.ready).length;
  const own = local.length === 0 ? [] : [{ member: cluster, accounts, ready, total: local.length }];
  const others = remote.map((each) => ({ member: each.cluster, accounts: [], ready: each.ready, total: each.total }));
  return [...own, ...others].map((each) => ({ ...each, namespace, name, scope }));
}

type Serving = { readonly pods: readonly LocalEndpoint[] } | { readonly refusal: Finding };

/** Pods behind a service port of this member, as the caller's member reaches them. */
function servingPods(ir: MeshIr, question: ServeQuestion): Serving {
  const { cluster, targetNamespace: namespace, targetName: name, targetPort: port, targetScope } = question;
  if (cluster !== ir.cluster && !ir.peers.some((peer) => peer.cluster === cluster)) {
    const message = `${cluster} is no member that ${ir.cluster} knows, or it is revoked`;
    return {
      refusal: finding("refused", "not-a-peer", message, { object: `Member ${cluster}`, next: "isthmus clusters" }),
    };
  }
  const isNamed = (each: { readonly namespace: string; readonly port: number }) =>
    each.namespace === namespace && each.port === port;
  if (cluster !== ir.cluster || targetScope === "fleet") {
    const exported = ir.exportPorts.find((each) => isNamed(each) && each.service === name);
    if (exported !== undefined) return { pods: exported.endpoints };
    const message = `${ir.cluster} does not export ${namespace}/${name}:${port}`;
    const object = `ServiceExport ${namespace}/${name}`;
    return { refusal: finding("refused", "not-exported", message, { object, next: `a ${object} in ${ir.cluster}` }) };
  }
  const service = ir.services.find(
    (each) => each.scope === "cluster" && each.namespace === namespace && each.name === name,
  );
  const served = service?.ports.find((each) => each.port === port);
  return { pods: (served?.local ?? []).filter(({ meshed }) => meshed) };
}

function inboundOf(ir: MeshIr, namespace: string, pod: LocalEndpoint): InboundPortIr | undefined {
  const workload = ir.workloads.find((each) => each.namespace === namespace && each.podName === pod.podName);
  return workload?.inbound.find(({ port }) => port === pod.port);
}

interface Asked {
  readonly standing: Standing;
  readonly question: ServeQuestion;
  readonly request: SeenHttp;
  readonly matches: MatchesRegex;
}

function callOf(http: HttpCall | null): CallHttp {
  const headers = (http?.headers ?? []).map(({ name, value }) => [name.toLowerCase(), value] as const);
  return { method: http?.method ?? "GET", path: http?.path ?? "/", headers: Object.fromEntries(headers) };
}

/** After a redirect a server is asked for the new path, if the application follows. */
function requestOf(seen: Seen, call: CallHttp): SeenHttp {
  if (seen.kind === "request") return seen.request;
  const again = seen.kind === "redirect" ? seenBySidecars({ ...call, path: seen.path }) : seen;
  return again.kind === "request" ? again.request : { ...call, path: "/" };
}

export function answerServe(standing: Standing, question: ServeQuestion, matches: MatchesRegex): ServeAnswer {
  const { ir } = standing;
  const serving = servingPods(ir, question);
  if ("refusal" in serving) return { findings: [serving.refusal], path: "" };
  const { accounts, targetNamespace: namespace, targetName, targetPort } = question;
  const chosen = serving.pods.filter(
    ({ serviceAccount }) => accounts.length === 0 || accounts.includes(serviceAccount),
  );
  const call = callOf(question.http);
  const seen = seenBySidecars(call);
  const speaksHttp = chosen.some((pod) => isHttpPort(inboundOf(ir, namespace, pod)));
  if (speaksHttp && seen.kind === "malformed")
    return { findings: [finding("refused", "malformed", `the first sidecar answers 400: ${seen.why}`)], path: "" };
  const asked: Asked = { standing, question, request: requestOf(seen, call), matches };
  const ports = new Map(chosen.map((pod) => [`${pod.serviceAccount} ${pod.port}`, pod]));
  const findings = [...ports.values()].map((pod) => findingOf(asked, pod));
  if (findings.length > 0) return { findings, path: speaksHttp && seen.kind === "redirect" ? seen.path : "" };
  const message = `no pod with a sidecar answers ${namespace}/${targetName}:${targetPort} in ${ir.cluster} (503)`;
  return { findings: [finding("unserved", "unserved", message)], path: "" };
}

function isHttpPort(inbound: InboundPortIr | undefined): boolean {
  return inbound !== undefined && protocolFamily(inbound.protocol) === "http";
}

function findingOf(asked: Asked, pod: LocalEndpoint): Finding {
  const { standing, question, request, matches } = asked;
  const { ir } = standing;
  const namespace = question.targetNamespace;
  const account = `${namespace}/${pod.serviceAccount}`;
  const inbound = inboundOf(ir, namespace, pod);
  if (inbound === undefined) {
    return finding(
      "unserved",
      "no-sidecar-port",
      `the sidecar of pod ${pod.podName} takes nothing on port ${pod.port}`,
      { account },
    );
  }
  const principal: Principal = {
    cluster: question.cluster,
    namespace: question.namespace,
    serviceAccount: question.serviceAccount,
  };
  const server = { namespace, serviceAccount: pod.serviceAccount, inbound };
  const verdict = serverVerdict(ir, server, principal, { request, matches });
  return { ...inWords(verdict, asked, { principal, account, inbound }), account };
}

interface Parties {
  readonly principal: Principal;
  readonly account: string;
  readonly inbound: InboundPortIr;
}

function who({ cluster, namespace, serviceAccount }: Principal): string {
  return `${cluster}/${namespace}/${serviceAccount}`;
}

function listed(grants: readonly GrantIr[]): string {
  return grants.map(({ origin }) => originText(origin)).join(", ");
}

function inWords(verdict: ServerVerdict, asked: Asked, parties: Parties): Finding {
  const { inputs } = asked.standing;
  if (verdict.allowed && verdict.why === "permissive") {
    const namespace = asked.question.targetNamespace;
    return finding("allowed", "permissive", `namespace ${namespace} is permissive: no TrafficTarget is asked`, {
      object: `Namespace ${namespace}`,
    });
  }
  if (verdict.allowed) {
    const { grant, match } = verdict;
    const target = originText(grant.origin);
    const by = match === undefined ? "its TCPRoute" : `${matchOrigin(inputs, grant, match)} (${matchText(match)})`;
    return finding("allowed", "grant", `${target} grants it by ${by}`, { object: target });
  }
  return refusalInWords(verdict, asked, parties);
}

function refusalInWords(
  { why, near }: Extract<ServerVerdict, { readonly allowed: false }>,
  { request }: Asked,
  { principal, account, inbound }: Parties,
): Finding {
  const caller = who(principal);
  const first = near[0] === undefined ? "" : originText(near[0].origin);
  switch (why) {
    case "revoked":
      return finding("refused", why, `member ${principal.cluster} is revoked`, {
        object: `Member ${principal.cluster}`,
        next: `isthmus revoke ${principal.cluster} --undo`,
      });
    case "no-grant":
      return noGrant(near, principal, account);
    case "port":
      return finding("refused", why, `${listed(near)} names ${caller}, but not port ${inbound.port}`, {
        object: first,
        next: `port ${inbound.port} in a TCPRoute of ${first}`,
      });
    case "http-only": {
      const message = `${listed(near)} has HTTP rules alone, and port ${inbound.port} of ${account} speaks ${inbound.protocol}`;
      return finding("refused", why, message, {
        object: first,
        next: `a TCPRoute with port ${inbound.port} in ${first}`,
      });
    }
    case "no-match": {
      const granted = near.flatMap(({ http }) => (http === "any" ? [] : http.map(matchText)));
      const message = `no match of ${listed(near)} is for ${request.method} ${request.path}; granted: ${granted.join("; ")}`;
      return finding("refused", why, message, {
        object: first,
        next: `a match for ${request.method} ${request.path} in a rule of ${first}`,
      });
    }
  }
}

/** The commonest surprise across members: the same name in another member is another account. */
function noGrant(near: readonly GrantIr[], principal: Principal, account: string): Finding {
  const caller = who(principal);
  const sameName = near.find(({ sources }) =>
    sources.some(
      ({ namespace, serviceAccount }) =>
        namespace === principal.namespace && serviceAccount === principal.serviceAccount,
    ),
  );
  if (sameName !== undefined) {
    const target = originText(sameName.origin);
    const clusters = [...new Set(sameName.sources.map(memberText))].join(", ");
    const message = `${target} names ${principal.namespace}/${principal.serviceAccount} of ${clusters}, not of ${principal.cluster}`;
    return finding("refused", "other-cluster", message, {
      object: target,
      next: `annotate ${target}: isthmus.dev/source-clusters: "${principal.cluster}"`,
    });
  }
  const others = near.length === 0 ? "" : `; those to it: ${listed(near)}`;
  return finding("refused", "no-grant", `no TrafficTarget grants ${caller} anything on ${account}${others}`, {
    next: `a TrafficTarget beside ${account} with source ${principal.namespace}/${principal.serviceAccount}`,
  });
}
