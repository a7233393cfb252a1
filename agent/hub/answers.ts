// One Answer stream: the hub's questions come in, this member's answers go out as they are ready. Called by session.ts, which opens
// the next one. Questions are people's: few, and none of them changes anything here.
import type { FleetClient } from "../../shared/grpc/fleet-service.ts";
import type { AnswerContent, MemberQuestion, Question } from "../../shared/grpc/question-messages.ts";

export interface AnswersDeps {
  readonly answer: (question: Question) => Promise<AnswerContent>;
  /** The hub has taken the stream. */
  readonly onOpen: () => void;
}

/** Ends by throwing. */
export async function runAnswers(client: FleetClient, deps: AnswersDeps, signal: AbortSignal): Promise<never> {
  const call = client.answer();
  const ended = Promise.withResolvers<never>();
  const stop = () => call.cancel();
  signal.addEventListener("abort", stop, { once: true });
  call.on("metadata", deps.onOpen);
  call.on("error", ended.reject);
  call.on("end", () => ended.reject(new Error("the hub ended the stream")));
  call.on("data", (question: MemberQuestion) => {
    deps.answer(question).then((content) => call.write({ id: question.id, ...content }), ended.reject);
  });
  try {
    return await ended.promise;
  } finally {
    signal.removeEventListener("abort", stop);
    call.cancel();
  }
}
