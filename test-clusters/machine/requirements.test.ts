import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requireSpace } from "./requirements.ts";

let dir = "";
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "isthmus-space-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe("disk space", () => {
  it("that is too little is told with the folder and what to do", async () => {
    const wanted = requireSpace(dir, Number.MAX_SAFE_INTEGER);
    await expect(wanted).rejects.toMatchObject({ code: "ISTHMUS_DISK_FULL" });
    await expect(wanted).rejects.toThrow(dir);
  });

  it("that is enough is no matter, in a folder that is not there yet too", async () => {
    await expect(requireSpace(join(dir, "new"), 1)).resolves.toBeUndefined();
  });
});
