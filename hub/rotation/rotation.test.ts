// The steps of a rotation, what each makes of the roots, and which ways there are.
import { describe, expect, it } from "vitest";
import {
  advance,
  hasten,
  resume,
  rollBack,
  setAside,
  signingRoot,
  startRotation,
  trustedRoots,
  type FleetTrust,
  type Step,
} from "./rotation.ts";

const before: FleetTrust = { roots: [{ id: "old", state: "signing" }], bundle: { sequence: 7 } };

function started(): FleetTrust {
  const trust = startRotation(before, { id: "new", state: "prepared" }, 1);
  if (!trust.ok) throw new Error("not started");
  return trust.value;
}

function at(step: Step): FleetTrust {
  if (step === "reverting") {
    const back = rollBack(at("signing"), 9);
    if (!back.ok) throw new Error("not reverted");
    return back.value;
  }
  let trust = started();
  for (let turn = 0; turn < 5 && trust.rotation?.step !== step; turn += 1) trust = advance(trust, 2 + turn);
  return trust;
}

const shown = (trust: FleetTrust) => ({
  signs: signingRoot(trust)?.id,
  bundle: trustedRoots(trust.roots).map(({ id }) => id),
  sequence: trust.bundle.sequence,
});

describe("a rotation", () => {
  it.each<[Step, { signs: string; bundle: readonly string[]; sequence: number }]>([
    ["prepared", { signs: "old", bundle: ["old"], sequence: 7 }],
    ["trusted", { signs: "old", bundle: ["old", "new"], sequence: 8 }],
    ["signing", { signs: "new", bundle: ["old", "new"], sequence: 9 }],
    ["retiring", { signs: "new", bundle: ["old", "new"], sequence: 10 }],
    ["revoked", { signs: "new", bundle: ["new"], sequence: 11 }],
    ["reverting", { signs: "old", bundle: ["old", "new"], sequence: 10 }],
  ])("in step %s", (step, expected) => {
    expect(at(step).rotation?.step).toBe(step);
    expect(shown(at(step))).toEqual(expected);
  });

  it("is over after the last step, and the fleet has one root", () => {
    const over = advance(at("revoked"), 99);
    expect(over.rotation).toBeUndefined();
    expect(shown(over)).toEqual({ signs: "new", bundle: ["new"], sequence: 11 });
    expect(over.lastRotation).toEqual({ from: "old", to: "new", outcome: "completed", endedAtMs: 99 });
  });

  it("that was taken back leaves the fleet as it was, under a later bundle", () => {
    const over = advance(at("reverting"), 99);
    expect(shown(over)).toEqual({ signs: "old", bundle: ["old"], sequence: 11 });
    expect(over.lastRotation?.outcome).toBe("rolled-back");
  });

  it.each<[Step, string]>([
    ["prepared", "over"],
    ["trusted", "reverting"],
    ["signing", "reverting"],
    ["reverting", "reverting"],
    ["retiring", "ISTHMUS_ROTATION_PAST"],
    ["revoked", "ISTHMUS_ROTATION_PAST"],
  ])("taken back in step %s is then: %s", (step, expected) => {
    const back = rollBack(at(step), 50);
    expect(back.ok ? (back.value.rotation?.step ?? "over") : back.error[0]?.code).toBe(expected);
  });

  it("is one at a time, and needs a root that is not of the fleet", () => {
    expect(startRotation(started(), { id: "third", state: "prepared" }, 3)).toMatchObject({
      ok: false,
      error: [{ code: "ISTHMUS_ROTATION_RUNS" }],
    });
    expect(startRotation(before, { id: "old", state: "prepared" }, 3)).toMatchObject({ ok: false });
  });

  it("journals every step with its bundle", () => {
    expect(at("retiring").rotation?.journal.map(({ step, sequence }) => [step, sequence])).toEqual([
      ["prepared", 7],
      ["trusted", 8],
      ["signing", 9],
      ["retiring", 10],
    ]);
  });

  it("is held, let go, and hastened, which nobody can hold", () => {
    const held = resume(at("trusted"), "signing");
    expect(held.ok && held.value.rotation?.holdAt).toBe("signing");
    const hastened = held.ok ? hasten(held.value, 500) : held;
    expect(hastened.ok && hastened.value.rotation).toMatchObject({ hastenedUntilMs: 500 });
    expect(hastened.ok && hastened.value.rotation && "holdAt" in hastened.value.rotation).toBe(false);
    expect(hasten(at("reverting"), 500).ok).toBe(false);
  });

  it("remembers who is set aside, once, until he is waited for again", () => {
    const aside = ["west", "east", "west"].reduce((trust, name) => {
      const next = setAside(trust, name, true);
      return next.ok ? next.value : trust;
    }, at("trusted"));
    expect(aside.rotation?.setAside).toEqual(["east", "west"]);
    const again = setAside(aside, "east", false);
    expect(again.ok && again.value.rotation?.setAside).toEqual(["west"]);
  });

  it("that does not run can be neither taken back, nor held, nor hastened", () => {
    for (const result of [rollBack(before, 1), resume(before), hasten(before, 1), setAside(before, "east", true)]) {
      expect(result).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_ROTATION_NONE" }] });
    }
  });
});
