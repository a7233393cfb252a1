import { describe, expect, it } from "vitest";
import { joinStages, type PodTimes } from "./join-stages.ts";

const start = Date.parse("2026-01-01T10:00:00Z");
const at = (second: number) => `2026-01-01T10:00:${String(second).padStart(2, "0")}Z`;

function pod(part: string, created: number, conditions: Readonly<Record<string, number>>): PodTimes {
  return {
    metadata: { creationTimestamp: at(created), labels: { "app.kubernetes.io/name": part } },
    status: {
      conditions: Object.entries(conditions).map(([type, second]) => {
        return { type, status: second > 0 ? "True" : "False", lastTransitionTime: at(Math.abs(second)) };
      }),
    },
  };
}

describe("the stages of a join", () => {
  it("are those of the first replica of each part", () => {
    const pods = [
      pod("isthmus-agent", 2, { PodReadyToStartContainers: 3, Ready: 6 }),
      pod("isthmus-agent", 2, { PodReadyToStartContainers: 4, Ready: 5 }),
      pod("isthmus-gateway", 1, { PodReadyToStartContainers: 4, Initialized: 6, Ready: 7 }),
    ];
    expect(joinStages(start, pods)).toEqual({
      pods_created: 1,
      pods_started: 3,
      agent_ready: 5,
      gateway_initialized: 6,
      gateway_ready: 7,
    });
  });

  it("leave open what has not happened", () => {
    const stages = joinStages(start, [pod("isthmus-agent", 2, { Ready: -3 })]);
    expect(stages).toMatchObject({ pods_created: 2, agent_ready: undefined, gateway_ready: undefined });
  });
});
