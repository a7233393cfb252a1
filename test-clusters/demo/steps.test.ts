import { describe, expect, it } from "vitest";
import { demoReport, demoSteps } from "./steps.ts";

describe("the demo's report", () => {
  it("is ok only when every expected step ran and succeeded", async () => {
    const steps = demoSteps({ say: () => undefined });
    await steps.run("a", "", () => Promise.resolve("done"));
    expect(demoReport(["a"], steps.results).ok).toBe(true);
    expect(demoReport(["a", "b"], steps.results)).toMatchObject({
      ok: false,
      steps: [
        { name: "a", ok: true, detail: "done" },
        { name: "b", ok: false, detail: "not run: an earlier step failed" },
      ],
    });
  });

  it("keeps why a step failed and lets the failure end the demo", async () => {
    const steps = demoSteps({ say: () => undefined });
    await expect(steps.run("a", "", () => Promise.reject(new Error("no route")))).rejects.toThrow("no route");
    expect(steps.results).toMatchObject([{ name: "a", ok: false, detail: "no route" }]);
  });
});
