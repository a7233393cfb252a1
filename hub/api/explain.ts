// `isthmus explain`: asks the caller's member what its sidecar does with a call, then every member that it may be sent to what its
// servers do, and puts the findings together. Grants live in the server's member, so only it can say. Carries and combines.
import type { Backend, CallAnswer, Finding, HttpHeader, ServeAnswer } from "../../shared/grpc/question-messages.ts";
import { UserError } from "../../shared/errors.ts";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import type { Authority } from "../ca/authority.ts";
import type { Store } from "../store/open-store.ts";
import type { Asked, MemberQuestions } from "./member-questions.ts";

export interface ExplainDeps {
  readonly authority: Pick<Authority, "isRevoked">;
  readonly store: Pick<Store, "live">;
  readonly questions: MemberQuestions;
}

export interface ExplainOrder {
  readonly from: { readonly member: string; readonly namespace: string; readonly serviceAccount: string };
  readonly to: { readonly namespace: string; readonly name: string; readonly scope: string; readonly port: number };
  readonly method: string;
  readonly path: string;
  readonly headers: readonly HttpHeader[];
}

export type Outcome =
  | "allowed"
  | "refused"
  /** Some that may be chosen allow it, others refuse: requests fail now and then. */
  | "partly"
  /** Nobody could answer: 503. */
  | "unserved"
  /** Not the mesh's to decide. */
  | "outside"
  /** A member that would have to say did not answer. */
  | "unknown";

export interface MemberFinding extends Finding {
  readonly member: string;
  readonly side: "caller" | "server";
}

export interface Explanation extends Omit<ExplainOrder, "headers"> {
  readonly outcome: Outcome;
  readonly protocol: string;
  /** Where the first sidecar sends the application (307); empty: nowhere. */
  readonly redirect: string;
  readonly backends: readonly Backend[];
  readonly findings: readonly MemberFinding[];
}

export async function explain(deps: ExplainDeps, order: ExplainOrder): Promise<Explanation> {
  const caller = memberOf(deps, order.from.member);
  const base = { ...order, protocol: "", redirect: "", backends: [] };
  if (deps.authority.isRevoked(caller)) {
    return { ...base, outcome: "refused", findings: [revoked(caller)] };
  }
  const { from, to } = order;
  const asked = await deps.questions.ask(caller, {
    question: "call",
    call: {
      ...{ namespace: from.namespace, serviceAccount: from.serviceAccount },
      ...{ targetNamespace: to.namespace, targetName: to.name, targetScope: to.scope, targetPort: to.port },
      http: { method: order.method, path: order.path, headers: order.headers },
    },
  });
  const call = callIn(asked);
  if (call === undefined) return { ...base, outcome: "unknown", findings: [unanswered(caller, "caller", asked)] };
  const own = ofMember(caller, "caller", call.finding === null ? [] : [call.finding]);
  if (!call.sent) return { ...base, outcome: callerOutcome(call), findings: own };
  const served = await Promise.all(call.backends.map((backend) => askServer(deps, order, { caller, call, backend })));
  const findings = [...own, ...served.flatMap((each) => each.findings)];
  return {
    ...base,
    to: { ...to, scope: call.scope, port: call.port },
    outcome: outcomeOf(served.flatMap((each) => each.findings)),
    protocol: call.protocol,
    redirect: served.find(({ path }) => path !== "")?.path ?? "",
    backends: call.backends,
    findings,
  };
}

function memberOf({ store, authority }: ExplainDeps, name: string): ClusterName {
  const parsed = parseClusterName(name);
  if (parsed.ok && (store.live.members.has(parsed.value) || authority.isRevoked(parsed.value))) return parsed.value;
  throw new UserError("ISTHMUS_MEMBER_UNKNOWN", `${name} is not a member of this fleet`, {
    hint: "isthmus clusters lists the members",
  });
}

interface Leg {
  readonly caller: ClusterName;
  readonly call: CallAnswer;
  readonly backend: Backend;
}

interface Served {
  readonly findings: readonly MemberFinding[];
  readonly path: string;
}

async function askServer(
  { questions, authority }: ExplainDeps,
  { from, method, path, headers }: ExplainOrder,
  { caller, call, backend }: Leg,
): Promise<Served> {
  // a member's backends are records that this hub has checked
  const member = backend.member as ClusterName;
  if (authority.isRevoked(member)) return { findings: [{ ...revoked(member), side: "server" }], path: "" };
  const asked = await questions.ask(member, {
    question: "serve",
    serve: {
      ...{ cluster: caller, namespace: from.namespace, serviceAccount: from.serviceAccount },
      ...{ targetNamespace: backend.namespace, targetName: backend.name, targetScope: backend.scope },
      targetPort: call.port,
      accounts: backend.accounts,
      http: { method, path, headers },
    },
  });
  const answer = serveIn(asked);
  if (answer === undefined) return { findings: [unanswered(member, "server", asked)], path: "" };
  return { findings: ofMember(member, "server", answer.findings), path: answer.path };
}

function callIn(asked: Asked): CallAnswer | undefined {
  return typeof asked === "object" && asked.answer === "call" ? asked.call : undefined;
}

function serveIn(asked: Asked): ServeAnswer | undefined {
  return typeof asked === "object" && asked.answer === "serve" ? asked.serve : undefined;
}

function ofMember(member: string, side: MemberFinding["side"], findings: readonly Finding[]): readonly MemberFinding[] {
  return findings.map((finding) => ({ ...finding, member, side }));
}

function revoked(member: string): MemberFinding {
  return {
    ...{ member, side: "caller", outcome: "refused", why: "revoked", message: `member ${member} is revoked` },
    ...{ object: `Member ${member}`, next: `isthmus revoke ${member} --undo`, account: "" },
  };
}

function unanswered(member: string, side: MemberFinding["side"], asked: Asked): MemberFinding {
  const finding = { member, side, outcome: "unknown", object: `Member ${member}`, account: "" };
  if (asked === "away") {
    const message = `no agent of ${member} is connected to this hub, so nobody can say what it does`;
    return { ...finding, why: "member-away", message, next: "isthmus clusters" };
  }
  if (asked === "silent")
    return {
      ...finding,
      why: "member-silent",
      message: `the agent of ${member} did not answer in time`,
      next: "try again",
    };
  const message = asked.answer === "problem" ? asked.problem.message : "the agent does not know the question";
  return { ...finding, why: "member-cannot-say", message, next: "isthmus status" };
}

function callerOutcome({ finding }: CallAnswer): Outcome {
  const outcome = finding?.outcome;
  return outcome === "outside" || outcome === "unserved" ? outcome : "refused";
}

/** What a caller meets over many requests, each of which may go to any of these. */
export function outcomeOf(findings: readonly Pick<Finding, "outcome">[]): Outcome {
  const seen = new Set(findings.map(({ outcome }) => outcome));
  if (seen.has("unknown")) return "unknown";
  if (seen.has("allowed")) return seen.has("refused") ? "partly" : "allowed";
  return seen.has("refused") ? "refused" : "unserved";
}
