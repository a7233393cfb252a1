// The Envoy of a running workload: the sockets it takes calls on, and how its callers are sent elsewhere before it ends.
import type { Clock } from "../../shared/clock.ts";
import type { BoundInput } from "../../agent/ir/inputs.ts";
import { callsTaken, startDraining } from "../envoy/admin.ts";

const DRAIN_CHECK_MS = 25;

/** `host:port` of every place where the sidecar takes calls of the mesh. Pure. */
export function inboundSockets({ inboundAddresses, applications }: BoundInput): readonly string[] {
  return inboundAddresses.flatMap((address) => applications.map(({ port }) => `${address}:${port}`));
}

/** Callers are told to go elsewhere; resolves when none of their calls is left, or when `withinMs` are over. */
export async function drainSidecar(adminSocket: string, withinMs: number, clock: Clock): Promise<void> {
  const deadline = clock.now() + withinMs;
  await startDraining(adminSocket);
  for (const never = new AbortController().signal; clock.now() < deadline;) {
    const calls = await callsTaken(adminSocket);
    if (calls === undefined || calls === 0) return;
    await clock.sleep(DRAIN_CHECK_MS, never);
  }
}
