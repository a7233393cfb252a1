// The hub asks its members: open Answer streams by member, and the questions that wait for an answer. An agent has one per replica, all
// of which know the same; the newest is asked. Used by explain.ts and trial.ts; nothing but people's questions goes this way.
import type { AnswerContent, MemberAnswer, MemberQuestion, Question } from "../../shared/grpc/question-messages.ts";
import type { ClusterName } from "../../shared/ids.ts";

/** An answer is a look at what the agent holds; a trial builds a second mesh. */
const answerMs = 8_000;

interface Line {
  readonly send: (question: MemberQuestion) => void;
  readonly waiting: Map<number, (content: AnswerContent) => void>;
}

export interface AnswerLine {
  readonly answered: (answer: MemberAnswer) => void;
  readonly leave: () => void;
}

export type Asked = AnswerContent | "away" | "silent";

export class MemberQuestions {
  readonly #lines = new Map<ClusterName, Line[]>();
  #lastId = 0;

  /** An agent's stream has opened. */
  open(cluster: ClusterName, send: (question: MemberQuestion) => void): AnswerLine {
    const line: Line = { send, waiting: new Map() };
    this.#lines.set(cluster, [...(this.#lines.get(cluster) ?? []), line]);
    return {
      answered: ({ id, ...content }) => {
        line.waiting.get(id)?.(content);
        line.waiting.delete(id);
      },
      leave: () => {
        const rest = (this.#lines.get(cluster) ?? []).filter((each) => each !== line);
        if (rest.length === 0) this.#lines.delete(cluster);
        else this.#lines.set(cluster, rest);
      },
    };
  }

  /** Members with an agent on this hub, sorted. */
  members(): readonly ClusterName[] {
    return [...this.#lines.keys()].sort();
  }

  /** "away": no agent of the member is connected here; "silent": it did not answer in time. */
  async ask(cluster: ClusterName, question: Question): Promise<Asked> {
    const line = this.#lines.get(cluster)?.at(-1);
    if (line === undefined) return "away";
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = Promise.withResolvers<Asked>();
    line.waiting.set(id, answer.resolve);
    const overdue = setTimeout(() => answer.resolve("silent"), answerMs);
    line.send({ id, ...question });
    try {
      return await answer.promise;
    } finally {
      clearTimeout(overdue);
      line.waiting.delete(id);
    }
  }
}
