// Numbers that bound a stream, each with its reason, and the shape of a refusal. Used by server.
import { Metadata, type status, type StatusObject } from "@grpc/grpc-js";

/** How long a stream may live: until its token expires or it reaches its age, both spread so that no herd comes back. */
export function streamLifetimeMs(tokenLeftMs: number, maxAgeMs: number, random: number): number {
  // the kubelet renews a projected token at 80 % of its life: from 85 % on the client has a newer one to come back with
  const token = tokenLeftMs * (0.85 + 0.1 * random);
  const age = maxAgeMs * (0.75 + 0.25 * random);
  return Math.max(0, Math.min(token, age, MAX_TIMER_MS));
}

/** A thousand proxies that come back at once must not be a thousand token reviews at once. */
export const MAX_AUTHENTICATIONS = 32;

/** A Node timer's longest delay: beyond it, it fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export function refusalStatus(
  code: status,
  details: string,
): StatusObject & { readonly name: string; readonly message: string } {
  return { code, details, metadata: new Metadata(), name: "refused", message: details };
}

/** An agent that stops has told every proxy by then; what still holds a connection is cut. */
export const CLOSE_GRACE_MS = 2000;
