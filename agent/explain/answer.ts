// The member's side of the hub's questions: reads what was asked, finds the mesh that stands, answers. Called by agent/hub for every
// question. A question that cannot be answered is answered so; it never costs the session.
import type { StatusProblem } from "../../shared/grpc/fleet-messages.ts";
import type {
  AnswerContent,
  CopiesQuestion,
  Question,
  TrialAnswer,
  TrialQuestion,
} from "../../shared/grpc/question-messages.ts";
import type { Problem } from "../../shared/result.ts";
import { readSiteObject, type SiteKind } from "../site/site-object.ts";
import type { Standing } from "./caller.ts";
import { answerCall, answerServe } from "./findings.ts";
import { loadRe2 } from "./re2.ts";
import { copiesOf } from "./copies.ts";
import { changeInWords, tryPolicy, type Trial, type TrialList, type TrialObject } from "./trial.ts";

/** One answer is read by a person; what is beyond is counted. */
const MAX_CHANGES = 2_000;
const MAX_PROBLEMS = 200;

export type AnswerQuestion = (question: Question) => Promise<AnswerContent>;

/** `standing`: what is pushed to proxies now; undefined before the first push. */
export function createAnswers(standing: () => Standing | undefined): AnswerQuestion {
  let re2: ReturnType<typeof loadRe2> | undefined;
  return async (question) => {
    const mesh = standing();
    if (mesh === undefined)
      return cannot("ISTHMUS_NOT_READY", "the agent has no complete view of its mesh yet; ask again");
    switch (question.question) {
      case "call":
        return { answer: "call", call: answerCall(mesh, question.call, await (re2 ??= loadRe2())) };
      case "serve":
        return { answer: "serve", serve: answerServe(mesh, question.serve, await (re2 ??= loadRe2())) };
      case "trial":
        return { answer: "trial", trial: answerTrial(mesh, question.trial) };
      case "copies":
        return { answer: "trial", trial: answerCopies(mesh, question.copies) };
      case undefined:
        return cannot("ISTHMUS_QUESTION", "the agent does not know this question; it is older than the hub");
    }
  };
}

function cannot(code: string, message: string): AnswerContent {
  return { answer: "problem", problem: { code, object: "", message, sinceMs: 0 } };
}

const lists: Readonly<Partial<Record<SiteKind, TrialList>>> = {
  TrafficTarget: "trafficTargets",
  HTTPRouteGroup: "httpRouteGroups",
  TCPRoute: "tcpRoutes",
  UDPRoute: "udpRoutes",
  ServiceExport: "exports",
  TrafficSplit: "trafficSplits",
  MeshConfig: "meshConfigs",
};

interface ReadObjects {
  readonly objects: TrialObject[];
  readonly modes: { readonly namespace: string; readonly permissive: string; readonly remove: boolean }[];
  readonly problems: Problem[];
}

function readObjects(texts: readonly string[], remove: boolean): ReadObjects {
  const read: ReadObjects = { objects: [], modes: [], problems: [] };
  for (const text of texts) readInto(read, JSON.parse(text), remove);
  return read;
}

function readInto(read: ReadObjects, value: unknown, remove: boolean): void {
  const parsed = readSiteObject(value);
  if (!parsed.ok) {
    read.problems.push(...parsed.error);
    return;
  }
  const { kind, record } = parsed.value ?? {};
  if (kind === undefined || record === undefined) return;
  const { namespace, name } = record;
  const list = lists[kind];
  if (list !== undefined) read.objects.push({ list, record, remove });
  else if (kind === "Namespace") {
    const permissive = "permissive" in record ? record.permissive : undefined;
    if (typeof permissive === "string") read.modes.push({ namespace: name, permissive, remove });
  } else {
    const message = `a ${kind} is no policy: it is left out of the trial`;
    read.problems.push({ code: "ISTHMUS_TRIAL_KIND", message, object: { kind, namespace, name } });
  }
}

function answerTrial(mesh: Standing, { objectsJson, remove, permissive }: TrialQuestion): TrialAnswer {
  const { problems, ...read } = readObjects(objectsJson, remove);
  return trialAnswer(mesh, { ...read, permissive: permissive === "" ? undefined : permissive === "on" }, problems);
}

/** What its author may not write is the author's to hear; here only the copies count. */
function answerCopies(mesh: Standing, { author, objectsJson, remove }: CopiesQuestion): TrialAnswer {
  const { objects } = readObjects(objectsJson, remove);
  const copies = copiesOf(mesh.inputs, author, objects);
  return trialAnswer(mesh, { objects: copies.objects, modes: [], permissive: undefined }, copies.problems);
}

function trialAnswer(mesh: Standing, trial: Trial, problems: readonly Problem[]): TrialAnswer {
  const result = tryPolicy(mesh, trial);
  return {
    changes: result.changes.slice(0, MAX_CHANGES).map(changeInWords),
    more: Math.max(0, result.changes.length - MAX_CHANGES),
    problems: [...problems, ...result.problems].slice(0, MAX_PROBLEMS).map(problemInWords),
  };
}

function problemInWords({ code, message, object, field }: Problem): StatusProblem {
  const place = object?.namespace === undefined ? "" : `${object.namespace}/`;
  const named = object === undefined ? "" : `${object.kind} ${place}${object.name}`;
  return { code, object: named, message: field === undefined ? message : `${field}: ${message}`, sinceMs: 0 };
}
