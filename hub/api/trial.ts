// `isthmus policy try`: asks members which flows a change would allow or cut there. Nothing is applied anywhere. Carries only.
import type { TrialAnswer, TrialQuestion } from "../../shared/grpc/question-messages.ts";
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
  const members = member === "" ? questions.members() : [named(member)];
  if (members.length === 0)
    throw new UserError("ISTHMUS_NO_MEMBER", "no member's agent is connected to this hub", {
      hint: "isthmus clusters",
    });
  const ask = async (cluster: ClusterName): Promise<MemberTrial> => {
    const asked = await questions.ask(cluster, { question: "trial", trial: { objectsJson, remove, permissive } });
    if (asked === "away") return { ...nothing, member: cluster, unanswered: "no agent of it is connected to this hub" };
    if (asked === "silent") return { ...nothing, member: cluster, unanswered: "its agent did not answer in time" };
    if (asked.answer === "trial") return { ...asked.trial, member: cluster, unanswered: "" };
    const why = asked.answer === "problem" ? asked.problem.message : "its agent does not know the question";
    return { ...nothing, member: cluster, unanswered: why };
  };
  return { members: await Promise.all(members.map(ask)) };
}

function named(text: string): ClusterName {
  const parsed = parseClusterName(text);
  if (parsed.ok) return parsed.value;
  throw new UserError("ISTHMUS_CLUSTER_NAME", parsed.error[0]?.message ?? "no cluster name", {
    hint: "isthmus clusters lists the members",
  });
}
