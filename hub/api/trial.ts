// `isthmus policy try`: asks members which flows a change would allow or cut there. Nothing is applied anywhere. Carries only.
import type { Question, TrialAnswer, TrialQuestion } from "../../shared/grpc/question-messages.ts";
import { UserError } from "../../shared/errors.ts";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import type { MemberQuestions } from "./member-questions.ts";

/** Below what gRPC carries to an agent in one message (4 MiB). */
export const maxTrialBytes = 3 * 1024 * 1024;

export interface TrialOrder extends TrialQuestion {
  /** Empty: every member whose agent is connected. */
  readonly member: string;
}

export interface MemberTrial extends TrialAnswer {
  readonly member: string;
  /** Why there is no answer; empty when there is. */
  readonly unanswered: string;
}

export interface TrialReport {
  readonly members: readonly MemberTrial[];
}

const nothing: TrialAnswer = { changes: [], more: 0, problems: [] };

export async function tryPolicy(questions: MemberQuestions, order: TrialOrder): Promise<TrialReport> {
  const { member, objectsJson, remove, permissive } = order;
  const author = member === "" ? undefined : named(member);
  const members = author === undefined ? questions.members() : [author];
  if (members.length === 0)
    throw new UserError("ISTHMUS_NO_MEMBER", "no member's agent is connected to this hub", {
      hint: "isthmus clusters",
    });
  const ask = async (cluster: ClusterName, question: Question): Promise<MemberTrial> => {
    const asked = await questions.ask(cluster, question);
    if (asked === "away") return { ...nothing, member: cluster, unanswered: "no agent of it is connected to this hub" };
    if (asked === "silent") return { ...nothing, member: cluster, unanswered: "its agent did not answer in time" };
    if (asked.answer === "trial") return { ...asked.trial, member: cluster, unanswered: "" };
    const why = asked.answer === "problem" ? asked.problem.message : "its agent does not know the question";
    return { ...nothing, member: cluster, unanswered: why };
  };
  const trial = { objectsJson, remove, permissive };
  const tried = members.map((each) => ask(each, { question: "trial", trial }));
  if (author === undefined) return { members: await Promise.all(tried) };
  const others = questions.members().filter((each) => each !== author);
  const copies = { author, objectsJson, remove };
  const copied = await Promise.all(others.map((each) => ask(each, { question: "copies", copies })));
  return { members: [...(await Promise.all(tried)), ...copied.filter((each) => isConcerned(each, order))] };
}

/** What has no copy there is not worth a line, unless a member that might have one cannot say. */
function isConcerned({ changes, problems, unanswered }: MemberTrial, { objectsJson }: TrialOrder): boolean {
  if (unanswered === "") return changes.length > 0 || problems.length > 0;
  return objectsJson.some((text) => text.includes('"isthmus.dev/replicate"'));
}

function named(text: string): ClusterName {
  const parsed = parseClusterName(text);
  if (parsed.ok) return parsed.value;
  throw new UserError("ISTHMUS_CLUSTER_NAME", parsed.error[0]?.message ?? "no cluster name", {
    hint: "isthmus clusters lists the members",
  });
}
