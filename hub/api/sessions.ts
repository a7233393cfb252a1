// Open streams of agents on this hub. Ends those of a member that is no longer one, and all of them when the hub drains.
import type { ClusterName } from "../../shared/ids.ts";
import type { ServiceError } from "@grpc/grpc-js";

export interface Session {
  readonly kind: "publish" | "watch" | "answer";
  readonly cluster: ClusterName;
  readonly end: (reason: ServiceError) => void;
}

export class Sessions {
  readonly #open = new Set<Session>();

  /** Returns the way to leave. */
  add(session: Session): () => void {
    this.#open.add(session);
    return () => this.#open.delete(session);
  }

  count(kind: Session["kind"]): number {
    return [...this.#open].filter((session) => session.kind === kind).length;
  }

  /** `reason` gives the status to end a session with, or undefined to let it be. */
  endWhere(reason: (session: Session) => ServiceError | undefined): void {
    for (const session of [...this.#open]) {
      const error = reason(session);
      if (error !== undefined) session.end(error);
    }
  }
}
