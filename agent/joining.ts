// The agent's way into the fleet at its start: the kept identity, else a token. Replicas start together and share one
// Secret: whoever loses a write goes on with what the other wrote, and the hub answers the same keys twice.
import { backoffDelayMs } from "../shared/backoff.ts";
import type { Clock } from "../shared/clock.ts";
import { UserError } from "../shared/errors.ts";
import { causeChain, type Log } from "../shared/log.ts";
import { joinFleet } from "./hub/join.ts";
import { heldIdentity, type IdentityStore, type JoinedIdentity } from "./identity/identity-state.ts";
import { readToken } from "./join-token-file.ts";
import { isApiError } from "./kube/api-error.ts";

const retry = { baseMs: 200, maxMs: 5_000 };

export interface JoiningDeps {
  readonly store: IdentityStore;
  readonly tokenFile: string;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * Returns once the cluster has joined. Waits for an API server that is away, for a token that is not there yet and for
 * another replica; throws a UserError for what a person must mend (an expired token, a hub with another key).
 */
export async function ensureJoined(deps: JoiningDeps, signal: AbortSignal): Promise<JoinedIdentity> {
  let said = "";
  for (let attempt = 0; ; attempt += 1) {
    signal.throwIfAborted();
    const outcome = await attemptJoin(deps, signal);
    if (typeof outcome !== "string") return outcome;
    if (outcome !== said) deps.log.info(outcome);
    said = outcome;
    await deps.clock.sleep(backoffDelayMs(attempt, retry, deps.random()), signal);
  }
}

/** The identity, or what is being waited for. */
async function attemptJoin(deps: JoiningDeps, signal: AbortSignal): Promise<JoinedIdentity | string> {
  try {
    const token = await readToken(deps.tokenFile);
    if (token === undefined && heldIdentity(await deps.store.load()) === undefined)
      return `waiting for a join token in ${deps.tokenFile} (Secret isthmus-join, key token)`;
    const { store, clock, random, log, version } = deps;
    return await joinFleet(token, { store, clock, random, log, signal, agentVersion: version });
  } catch (error) {
    if (isApiError(error)) return `waiting for the API server: ${causeChain(error).join("; ")}`;
    if (error instanceof UserError && error.code === "ISTHMUS_IDENTITY_CONFLICT") return "another replica is joining";
    throw error;
  }
}
