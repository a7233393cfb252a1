// A problem of the authority is told once when it comes and once when it goes.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import type { Problem } from "../../shared/result.ts";
import { openAuditLog, readAudit } from "../audit/log.ts";
import { capturedLog } from "../testing/redis.ts";
import { SigningWatch } from "./signing-watch.ts";

it("is recorded and logged at both ends, and shown with its beginning in between", async () => {
  const folder = await mkdtemp(join(tmpdir(), "isthmus-watch-"));
  const log = capturedLog();
  const audit = await openAuditLog(folder, systemClock, log);
  let found: readonly Problem[] = [];
  let nowMs = 1_000;
  const clock = { ...systemClock, now: () => nowMs };
  const watch = new SigningWatch({ authority: { signingProblems: () => Promise.resolve(found) }, audit, clock, log });
  await watch.look();
  found = [{ code: "ISTHMUS_ISSUER_RENEWAL", message: "vault is sealed" }];
  await watch.look();
  nowMs = 61_000;
  found = [{ code: "ISTHMUS_ISSUER_RENEWAL", message: "vault is still sealed" }];
  await watch.look();
  expect(watch.problems()).toEqual([
    { code: "ISTHMUS_ISSUER_RENEWAL", message: "vault is still sealed", sinceMs: 1_000 },
  ]);
  found = [];
  await watch.look();
  expect(watch.problems()).toEqual([]);
  await audit.close();
  const entries = [];
  for await (const entry of readAudit(folder, 0)) entries.push(entry);
  expect(entries.map(({ action }) => action)).toEqual(["signing.problem", "signing.recovered"]);
  expect(entries[0]?.detail).toMatchObject({ code: "ISTHMUS_ISSUER_RENEWAL", message: "vault is sealed" });
  await rm(folder, { recursive: true });
});
