// Whether the fleet's signing key signs and its issuing CA is renewed, asked every minute: what fails there is noticed by a member only
// when its own certificates are half over. A problem that comes or goes is logged and recorded once; while it lasts it is in
// `isthmus status`, `isthmus trust` and the metrics.
import type { Clock } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import type { Problem } from "../../shared/result.ts";
import type { AuditLog } from "../audit/log.ts";
import type { Authority } from "../ca/authority.ts";

const lookMs = 60_000;

/** What may be wrong: the label of the metric. */
export const signingCodes = ["ISTHMUS_SIGNER_AWAY", "ISTHMUS_ISSUER_RENEWAL", "ISTHMUS_CERTIFICATE_AGING"] as const;

export interface SigningProblem extends Pick<Problem, "code" | "message"> {
  readonly sinceMs: number;
}

export interface SigningWatchDeps {
  readonly authority: Pick<Authority, "signingProblems">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly log: Log;
}

export class SigningWatch {
  readonly #deps: SigningWatchDeps;
  #problems: readonly SigningProblem[] = [];

  constructor(deps: SigningWatchDeps) {
    this.#deps = deps;
  }

  problems(): readonly SigningProblem[] {
    return this.#problems;
  }

  async look(): Promise<void> {
    const { authority, clock, audit, log } = this.#deps;
    const before = new Map(this.#problems.map((problem) => [problem.code, problem]));
    const found = await authority.signingProblems();
    const nowMs = clock.now();
    this.#problems = found.map(({ code, message }) => ({ code, message, sinceMs: before.get(code)?.sinceMs ?? nowMs }));
    for (const { code, message } of this.#problems.filter((problem) => !before.has(problem.code))) {
      log.error("the fleet's authority has a problem", { code, message });
      await audit.record({ action: "signing.problem", actor: "hub", subject: "root", detail: { code, message } });
    }
    const lasting = new Set(this.#problems.map(({ code }) => code));
    for (const { code } of [...before.values()].filter((problem) => !lasting.has(problem.code))) {
      log.info("a problem of the fleet's authority is over", { code });
      await audit.record({ action: "signing.recovered", actor: "hub", subject: "root", detail: { code } });
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    for (;;) {
      await this.look().catch((error: unknown) => {
        log.error("what the fleet's authority can do is not recorded; it is asked again", {}, error);
      });
      await clock.sleep(lookMs, signal);
    }
  }
}
