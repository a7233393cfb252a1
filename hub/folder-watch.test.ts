import { rename } from "node:fs/promises";
import { expect, test, vi } from "vitest";
import { startTestHub } from "./testing/hub.ts";

const DEADLINE = { timeout: 60_000, interval: 50 };

test("a hub whose data folder goes away says so and is not ready; when it is back nothing is lost", async () => {
  const hub = await startTestHub();
  const readiness = async () => (await fetch(`${hub.http}/readyz`)).text();
  try {
    await hub.tokenFor("east");
    await rename(hub.dataDir, `${hub.dataDir}.away`);
    await vi.waitFor(async () => expect(await readiness()).toContain("is gone"), DEADLINE);
    expect(hub.log.lines.filter((line) => line.includes("ISTHMUS_DATA_GONE"))).toHaveLength(1);
    await rename(`${hub.dataDir}.away`, hub.dataDir);
    await vi.waitFor(async () => expect(await readiness()).toBe("ok\n"), DEADLINE);
    await hub.tokenFor("west");
  } finally {
    await rename(`${hub.dataDir}.away`, hub.dataDir).catch(() => undefined);
    await hub.stop();
  }
}, 150_000);
