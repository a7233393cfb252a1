// The way back of a member that has left: a new token, put where the first one was. While it has left the member looks for one, and
// then begins anew: the next start joins with it (agent/hub/join.ts). One task of a member's life.
import type { Clock } from "../shared/clock.ts";
import { UserError } from "../shared/errors.ts";
import { isNewToken } from "./hub/join.ts";
import type { JoinedIdentity } from "./identity/identity-state.ts";
import { readToken } from "./join-token-file.ts";

const lookMs = 1_000;

export interface Rejoining {
  /** Undefined: tokens are put nowhere. */
  readonly tokenFile: string | undefined;
  readonly hasLeft: () => boolean;
  readonly identity: () => JoinedIdentity;
  readonly clock: Clock;
}

/** The code with which a member ends that wants to be started again. */
export const rejoins = "ISTHMUS_REJOIN";

/** Until the signal aborts; throws UserError ISTHMUS_REJOIN. */
export async function awaitNewToken(
  { tokenFile, hasLeft, identity, clock }: Rejoining,
  signal: AbortSignal,
): Promise<void> {
  while (tokenFile !== undefined) {
    await clock.sleep(lookMs, signal);
    if (!hasLeft() || !isNewToken(await readToken(tokenFile), identity())) continue;
    throw new UserError(rejoins, "this member had left the fleet, and has a new join token", {
      hint: "nothing is to be done: it starts again and joins",
    });
  }
}
