// Durations as people write them in options: `90s`, `15m`, `2h`, `7d`.
import { UserError } from "./errors.ts";

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export function parseDuration(flag: string, text: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  const unitMs = unitsMs[match?.[2] ?? ""];
  if (match === null || unitMs === undefined) {
    throw new UserError("ISTHMUS_DURATION", `${flag} ${text} is not a duration`, { hint: "e.g. 90s, 15m or 2h" });
  }
  return Number(match[1]) * unitMs;
}
