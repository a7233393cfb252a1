import { describe, expect, it } from "vitest";
import { runningContainers } from "./cluster-faults.ts";
import { addressEnd } from "./fleet-faults.ts";

describe("a fault's end", () => {
  it.each([
    ["10.244.0.7", { address: "10.244.0.7" }],
    ["198.18.1.128/25", { address: "198.18.1.128/25" }],
    ["198.18.1.129:15443", { address: "198.18.1.129", port: 15443 }],
    ["east", undefined],
    ["10.244.0", undefined],
  ])("%j", (text, end) => {
    expect(addressEnd(text)).toEqual(end);
  });
});

describe("a pod's running containers", () => {
  const running = (name: string, id: string) => ({ name, containerID: `containerd://${id}`, state: { running: {} } });
  const pod = {
    status: {
      containerStatuses: [running("app", "a1"), { name: "waiting", state: {} }],
      initContainerStatuses: [
        running("isthmus-proxy", "b2"),
        { name: "init", containerID: "containerd://c3", state: {} },
      ],
    },
  };

  it("include native sidecars and leave out what has ended", () => {
    expect(runningContainers(pod, undefined)).toEqual(["a1", "b2"]);
  });

  it("can be asked for by name", () => {
    expect(runningContainers(pod, "isthmus-proxy")).toEqual(["b2"]);
    expect(runningContainers(pod, "init")).toEqual([]);
    expect(runningContainers({}, undefined)).toEqual([]);
  });
});
