// How far this machine's clock is from the hub's, told from the answers to its reports. Four minutes do no harm (certificates are
// valid from five minutes before they were made); beyond that certificates are refused as not valid yet, which is said here
// before anybody wonders. Pure.
import { backdateMs } from "../../shared/pki/template.ts";
import type { Problem } from "../../shared/result.ts";

/** A minute of grace for what the measurement itself lacks. */
export const harmlessSkewMs = backdateMs - 60_000;

/** Milliseconds that this clock is ahead; the hub's answer is taken to be of the middle of the call. Undefined: it told no time. */
export function skewMs(sentMs: number, receivedMs: number, hubNowMs: number): number | undefined {
  if (hubNowMs === 0) return undefined;
  const offMs = (sentMs + receivedMs) / 2 - hubNowMs;
  // what the call itself took may be all on one side
  const unsureMs = (receivedMs - sentMs) / 2;
  return Math.abs(offMs) <= unsureMs ? 0 : Math.round(offMs);
}

export function skewProblems(ms: number): readonly Problem[] {
  if (Math.abs(ms) <= harmlessSkewMs) return [];
  const minutes = (Math.abs(ms) / 60_000).toFixed(1);
  const way = ms > 0 ? "ahead of" : "behind";
  const harm = ms > 0 ? "what it signs is not valid yet elsewhere" : "new certificates look not valid yet here";
  const message = `this member's clock is ${minutes} min ${way} the hub's: ${harm}; set it by NTP`;
  return [{ code: "ISTHMUS_CLOCK_SKEW", message, object: { kind: "Member", name: "clock" } }];
}
