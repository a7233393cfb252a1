import { describe, expect, it } from "vitest";
import type { ClusterOverview, FleetOverview } from "../hub/api/fleet-overview.ts";
import { UserError } from "../shared/errors.ts";
import { statusText } from "./commands/status.ts";
import { parseDuration } from "../shared/duration.ts";
import { errorLine, shortDuration } from "./output.ts";
import { containerFaults, fieldMark, podOfLine } from "./pod-state.ts";
import { codeInLine } from "./rollout.ts";

describe("an error", () => {
  it("is code, what happened, probable cause and next step on one line, also when a task wrapped it", () => {
    const known = new UserError("ISTHMUS_X", "it broke", { cause: new Error("no\nspace"), hint: "free some" });
    const line = "error ISTHMUS_X: it broke; no space; free some";
    expect(errorLine(known)).toBe(line);
    expect(errorLine(new Error("task feed failed", { cause: known }))).toBe(line);
  });

  it("that nobody expected shows its whole chain of causes", () => {
    const line = errorLine(new Error("task feed failed", { cause: new TypeError("x is undefined") }));
    expect(line).toBe("error ISTHMUS_BUG: Error: task feed failed; TypeError: x is undefined; please report this line");
  });
});

describe("a duration", () => {
  it.each([
    ["90s", 90_000],
    ["15m", 900_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
  ])("%s is read", (text, ms) => expect(parseDuration("--ttl", text)).toBe(ms));

  it.each(["", "15", "m", "-1s", "1.5h", "1w", "9999999s"])("%j is refused", (text) => {
    expect(() => parseDuration("--ttl", text)).toThrow(UserError);
  });

  it.each([
    [0, "0s"],
    [99_000, "99s"],
    [15 * 60_000, "15m"],
    [7 * 3_600_000, "7h"],
    [6.9 * 86_400_000, "7d"],
  ])("of %d ms is shown as %s", (ms, text) => expect(shortDuration(ms)).toBe(text));
});

const east: ClusterOverview = {
  cluster: "east",
  state: "connected",
  joinedAtMs: 0,
  reportAgeMs: 3_000,
  agentVersion: "0.1.0",
  agents: 2,
  behind: 0,
  proxies: 12,
  gatewaysReady: 2,
  servicesExported: 3,
  servicesImported: 1,
  clusterCaNotAfterMs: 6 * 86_400_000,
  agentNotAfterMs: 1,
  problems: [{ code: "ISTHMUS_NACK", object: "sidecar shop/cart-1", message: "unknown field", sinceMs: 40_000 }],
};

const fleet: FleetOverview = {
  fleetDomain: "acme.mesh",
  hub: "hub:8443",
  version: "0.1.0",
  nowMs: 100_000,
  revision: 812,
  records: 40,
  redis: "connected",
  restored: false,
  signing: [],
  clusters: [east, { ...east, cluster: "west", state: "joined", reportAgeMs: undefined, problems: [] }],
};

describe("the status screen", () => {
  it("shows members and problems", () => {
    expect(statusText(fleet)).toMatchInlineSnapshot(`
      "fleet acme.mesh   hub hub:8443 (0.1.0)   revision 812   records 40   redis connected

      CLUSTER  STATE      AGENTS  VERSION  SEEN  BEHIND  PROXIES  GATEWAYS  EXPORTS  IMPORTS  CA ENDS  AGENT ENDS  PROBLEMS
      east     connected  2       0.1.0    3s    0       12       2         3        1        in 6d    ENDED       1
      west     joined     0       -        -     -       -        -         -        -        -        -           -

      CLUSTER  SINCE  PROBLEM       OBJECT               MESSAGE
      east     60s    ISTHMUS_NACK  sidecar shop/cart-1  unknown field"
    `);
  });

  it("warns of a Redis that is away or was restored", () => {
    const text = statusText({ ...fleet, redis: "away", restored: true, clusters: [] });
    expect(text.match(/^WARNING: /gm)).toHaveLength(2);
  });

  it("stays on one screen with hundreds of problems", () => {
    const problems = Array.from({ length: 300 }, () => east.problems[0]!);
    const text = statusText({ ...fleet, clusters: [{ ...east, problems }] });
    expect(text.split("\n").length).toBeLessThan(30);
    expect(text).toContain("and 280 more");
  });
});

describe("a pod as kubectl prints it", () => {
  it("is read, and a line that is none is left out", () => {
    const line = ["agent-0", "isthmus-agent", "", "Running", '[{"type":"Ready","status":"True"}]', "", "[]"].join(
      fieldMark,
    );
    expect(podOfLine(line)).toMatchObject({ name: "agent-0", ready: true, deleted: false });
    expect(podOfLine("")).toBeUndefined();
    expect(podOfLine("Error from server")).toBeUndefined();
  });

  it("that is being deleted is not ready", () => {
    const line = ["a", "isthmus-agent", "2026-01-01", "Running", '[{"type":"Ready","status":"True"}]', "", ""].join(
      fieldMark,
    );
    expect(podOfLine(line)).toMatchObject({ ready: false, deleted: true });
  });

  it("tells of a first failed pull without giving up, and of the back-off with giving up", () => {
    const fatal = ["ErrImagePull", "ImagePullBackOff", "ContainerCreating"].map((reason) => {
      const statuses = [{ name: "m", image: "i", restartCount: 0, state: { waiting: { reason } } }];
      const pod = podOfLine(["a", "p", "", "Pending", "", "", JSON.stringify(statuses)].join(fieldMark));
      return containerFaults(pod!).map((fault) => fault.fatal);
    });
    expect(fatal).toEqual([[false], [true], []]);
  });
});

describe("the last words of an agent", () => {
  it.each([
    ['{"level":"error","message":"refused","code":"ISTHMUS_A"}', { code: "ISTHMUS_A", message: "refused" }],
    [
      '{"message":"waits","reason":"timeout","code":"ISTHMUS_B","next":"x"}',
      { code: "ISTHMUS_B", message: "waits: timeout", hint: "x" },
    ],
    ["error ISTHMUS_C: gone; do this", { code: "ISTHMUS_C", message: "gone; do this" }],
    ['{"message":"started"}', undefined],
    ["TypeError: x", undefined],
  ])("%s", (line, words) => expect(codeInLine(line)).toEqual(words));
});
