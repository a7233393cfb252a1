// The audit log on a real disk: what it keeps, what it refuses, and what a crash may leave.
import { appendFile, mkdtemp, readdir, readFile, readlink, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { capturedLog } from "../testing/redis.ts";
import type { AuditEntry, AuditEvent } from "./chain.ts";
import { auditFileName, openAuditLog, readAudit } from "./log.ts";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "isthmus-audit-")));
  path = join(folder, auditFileName);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function revocation(cluster: string): AuditEvent {
  return { action: "member.revoked", actor: "operator", subject: cluster, detail: { sequence: 2 } };
}

async function written(...clusters: readonly string[]): Promise<void> {
  const log = await openAuditLog(folder, systemClock, capturedLog());
  for (const cluster of clusters) await log.record(revocation(cluster));
  await log.close();
}

/** How often this process has the file open. */
async function opened(file: string): Promise<number> {
  const open = await readdir("/proc/self/fd");
  const targets = await Promise.all(open.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
  return targets.filter((target) => target === file).length;
}

async function subjects(): Promise<readonly string[]> {
  const entries: AuditEntry[] = [];
  for await (const entry of readAudit(folder)) entries.push(entry);
  return entries.map(({ subject }) => subject);
}

describe("the audit log", () => {
  it("gives back what was recorded, in order, over a restart", async () => {
    await written("east", "west");
    await written("north");
    expect(await subjects()).toEqual(["east", "west", "north"]);
  });

  it("keeps the order of records that were asked for at the same time", async () => {
    const log = await openAuditLog(folder, systemClock, capturedLog());
    const names = Array.from({ length: 200 }, (_, index) => `c${index}`);
    const entries = await Promise.all(names.map((name) => log.record(revocation(name))));
    await log.close();
    expect(entries.map(({ sequence }) => sequence)).toEqual(names.map((_, index) => index + 1));
    expect(await subjects()).toEqual(names);
  });

  it("takes a line away that a crash cut short, and goes on", async () => {
    await written("east");
    await appendFile(path, '{"sequence":2,"atMs":17');
    await written("west");
    expect(await subjects()).toEqual(["east", "west"]);
  });

  const changes: readonly (readonly [string, (lines: readonly string[]) => readonly string[], string])[] = [
    ["a changed word", ([a = "", ...rest]) => [a.replace("east", "eest"), ...rest], "entry 1 was changed"],
    ["a removed entry", ([a = "", , c = ""]) => [a, c], "entry 2 is missing"],
    ["a removed first entry", ([, ...rest]) => rest, "entry 1 is missing"],
    ["two entries swapped", ([a = "", b = "", c = ""]) => [b, a, c], "entry 1 is missing"],
    ["a line that is no JSON", ([a = "", , c = ""]) => [a, "hello", c], "entry 2 is not readable"],
    [
      "an entry of another chain",
      ([a = "", b = ""]) => [a, b, a.replace('"sequence":1', '"sequence":3')],
      "entry 3 does not follow",
    ],
  ];
  it.each(changes)("finds %s, and the hub does not start on it", async (_, change, finding) => {
    await written("east", "west", "north");
    const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
    await writeFile(
      path,
      change(lines)
        .map((line) => `${line}\n`)
        .join(""),
    );
    await expect(openAuditLog(folder, systemClock, capturedLog())).rejects.toThrow(finding);
    expect(await opened(path)).toBe(0);
    await expect(subjects()).rejects.toMatchObject({ code: "ISTHMUS_AUDIT_BROKEN" });
  });
});
