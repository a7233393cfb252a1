import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { capturedLog } from "../testing/redis.ts";
import { openRevisionMemory } from "./revision-memory.ts";

const home = mkdtempSync(join(tmpdir(), "isthmus-memory-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

it("a data folder that goes away in the middle of a write ends nothing, and what was seen is kept once it is back", async () => {
  const [path, away] = [join(home, "data"), join(home, "away")];
  await mkdir(path);
  const memory = await openRevisionMemory(path, systemClock, capturedLog());
  const ended = new Error("the test has ended");
  for (let revision = 1; revision <= 60; revision += 1) {
    memory.see({ incarnation: "a", revision });
    const ending = new AbortController();
    const running = memory.run(ending.signal).catch((error: unknown) => error);
    // each round a little later in the writing
    for (let turn = 0; turn < revision; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await rename(path, away);
    ending.abort(ended);
    expect(await running).toBe(ended);
    await rename(away, path);
  }
  await memory.run(AbortSignal.abort(ended)).catch(() => undefined);
  const again = await openRevisionMemory(path, systemClock, capturedLog());
  expect(again.seen()).toEqual({ incarnation: "a", revision: 60 });
});
