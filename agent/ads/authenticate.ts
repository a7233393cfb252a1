// Who opens a stream: the bearer token of a call, asked of the platform. Called by server and by load-reports.
import { status, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Log } from "../../shared/log.ts";
import type { Result } from "../../shared/result.ts";
import { refusalStatus } from "./limits.ts";
import type { AdsIdentity } from "./peer.ts";

export interface AuthenticationDeps {
  /** Checks the bearer token. A rejection refuses the stream; a throw means "not now" and the client comes back. */
  readonly authenticate: (token: string) => Promise<Result<AdsIdentity>>;
  readonly log: Log;
}

export async function authenticate(
  deps: AuthenticationDeps,
  call: Pick<ServerDuplexStream<Buffer, Buffer>, "metadata" | "getPeer">,
): Promise<Result<AdsIdentity, ReturnType<typeof refusalStatus>>> {
  const header = call.metadata.get("authorization")[0];
  const token = typeof header === "string" ? /^Bearer (.+)$/.exec(header)?.[1] : undefined;
  if (token === undefined) {
    return { ok: false, error: refusalStatus(status.UNAUTHENTICATED, "no bearer token") };
  }
  try {
    const identity = await deps.authenticate(token);
    if (identity.ok) return identity;
    const reason = identity.error.map((problem) => problem.message).join("; ");
    deps.log.warn("ads stream refused", { peer: call.getPeer(), reason });
    return { ok: false, error: refusalStatus(status.UNAUTHENTICATED, reason) };
  } catch (error) {
    deps.log.error("the token of an ads stream could not be checked", { peer: call.getPeer() }, error);
    return { ok: false, error: refusalStatus(status.UNAVAILABLE, "the token could not be checked; try again") };
  }
}
