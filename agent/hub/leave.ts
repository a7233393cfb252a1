// A member leaves by its own word: one call with its own certificate. Its agent, if it runs, hears of it from the hub like of every
// other end of a membership. Called by `isthmus leave`.
import { UserError } from "../../shared/errors.ts";
import { createFleetClient } from "../../shared/grpc/fleet-service.ts";
import { readFleetError } from "../../shared/grpc/fleet-status.ts";
import type { JoinedIdentity } from "../identity/identity-state.ts";
import { hubServerName, hubUnreachable, memberCredentials } from "./hub-tls.ts";

const timeoutMs = 15_000;

/** Asking again is no mistake: a lost reply is answered by "it has left". Throws UserError for what a person must mend. */
export async function leaveFleet(identity: JoinedIdentity): Promise<void> {
  const client = createFleetClient(identity.hub, memberCredentials(identity), {
    "grpc.ssl_target_name_override": hubServerName,
    "grpc.enable_retries": 0,
  });
  try {
    await client.leave({}, { deadline: Date.now() + timeoutMs });
  } catch (error) {
    const { code, message, hint } = readFleetError(error);
    if (code === "ISTHMUS_MEMBER_LEFT") return;
    if (code === "ISTHMUS_HUB_UNREACHABLE") throw hubUnreachable(identity.hub, error);
    throw new UserError(code, message, { cause: error, ...(hint === undefined ? {} : { hint }) });
  } finally {
    client.close();
  }
}
