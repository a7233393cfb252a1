// How much of a certificate's life is over, and from when on that is worth a person's look: at a half (what renews itself has
// not), at three quarters and at nine tenths. Pure; used by agents for all they hold.
import { backdateMs, type Validity } from "./template.ts";

export type LifeStage = "fresh" | "half" | "three-quarters" | "nine-tenths" | "ended";

/** Renewal is due at half of a life, 10 % of that earlier or later (`renewalDueMs`): an alarm before would be for nothing. */
const latestRenewal = 0.55;

/** 0 when it was issued, 1 at its end. */
export function lifeOver({ notBeforeMs, notAfterMs }: Validity, nowMs: number): number {
  const issuedAtMs = Math.min(notBeforeMs + backdateMs, notAfterMs);
  const lifeMs = Math.max(1, notAfterMs - issuedAtMs);
  return Math.max(0, (nowMs - issuedAtMs) / lifeMs);
}

/** `renewsItself`: half of its life is no news before its renewal is overdue. */
export function lifeStage(validity: Validity, nowMs: number, renewsItself: boolean): LifeStage {
  const over = lifeOver(validity, nowMs);
  if (over >= 1) return "ended";
  if (over >= 0.9) return "nine-tenths";
  if (over >= 0.75) return "three-quarters";
  return over > (renewsItself ? latestRenewal : 0.5) ? "half" : "fresh";
}
