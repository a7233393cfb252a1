import { describe, expect, it } from "vitest";
import { jsonLog } from "../../shared/log.ts";
import { validityFrom } from "../../shared/pki/template.ts";
import { certificateProblems, livesOver, watchAges, type HeldCertificate } from "./certificate-ages.ts";
import { HeldClock } from "./testing/held-clock.ts";

const hourMs = 3_600_000;

function issuedAt(nowMs: number, name = "cluster-ca"): HeldCertificate {
  const validity = validityFrom(nowMs, hourMs, Number.MAX_SAFE_INTEGER);
  if (!validity.ok) throw new Error("no validity");
  return { name, validity: validity.value };
}

describe("the ages of a member's certificates", () => {
  it("are a problem with the end and the next step, and none once it is renewed", () => {
    const [problem] = certificateProblems([issuedAt(0)], 0.8 * hourMs);
    expect(problem).toMatchObject({
      code: "ISTHMUS_CERTIFICATE_AGING",
      object: { kind: "Certificate", name: "cluster-ca" },
      message: expect.stringMatching(/three quarters.*1970-01-01T01:00:00.*hub/) as string,
    });
    expect(certificateProblems([issuedAt(0.7 * hourMs)], 0.8 * hourMs)).toEqual([]);
    expect(certificateProblems([issuedAt(0)], 2 * hourMs)).toMatchObject([{ code: "ISTHMUS_CERTIFICATE_ENDED" }]);
  });

  it("of one name are as old as the oldest", () => {
    const held = [issuedAt(0, "root"), issuedAt(0.5 * hourMs, "root")];
    expect(livesOver(held, 0.75 * hourMs).get("root")).toBeCloseTo(0.75);
  });

  it("are logged at a half, three quarters, nine tenths and the end, each once, and when it is over", async () => {
    const clock = new HeldClock(0);
    clock.loops = 1;
    let held = issuedAt(0);
    const lines: string[] = [];
    const ending = new AbortController();
    const log = jsonLog("info", (line) => lines.push((JSON.parse(line) as { message: string }).message));
    const watching = watchAges({ held: () => [held], clock, log }, ending.signal).catch(() => undefined);
    await clock.pass(1.1 * hourMs);
    held = issuedAt(clock.now());
    await clock.pass(60_000);
    ending.abort(new Error("done"));
    await watching;
    expect(lines).toEqual([
      "a certificate is not renewed yet: half of its life is over",
      "a certificate is not renewed yet: three quarters of its life are over",
      "a certificate is not renewed yet: nine tenths of its life are over",
      "a certificate has ended",
      "a certificate was renewed after all",
    ]);
  });
});
