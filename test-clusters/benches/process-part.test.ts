import { describe, expect, it } from "vitest";
import { partOfProcess } from "./process-part.ts";

const inPod =
  "4:memory:/ist-bench-1/east/kubepods/burstable/pod1/c1\n1:cpu:/ist-bench-1/east/kubepods/burstable/pod1/c1\n";
const outside = "4:memory:/user\n";
const agent = ["/usr/local/bin/node", "/app/agent/main.js", ""];
const envoy = (node: string) => ["/usr/local/bin/envoy", "--config-path", "f", "--service-node", node];
const redis = ["redis-server unixsocket:/cache/runs/bench-1/hub/redis/redis.sock", ""];
const hub = ["/bin/node", "/w/cli/isthmus.js", "hub", "--data", "/cache/runs/bench-1/hub"];

describe("a process", () => {
  it.each([
    { name: "the agent in a pod of the run", argv: agent, cgroups: inPod, part: "agent" },
    { name: "a gateway", argv: envoy("gateway~g-1.isthmus-system"), cgroups: inPod, part: "gateway" },
    { name: "a sidecar", argv: envoy("sidecar~cart-1.shop"), cgroups: inPod, part: "sidecar" },
    { name: "the hub beside the clusters", argv: hub, cgroups: outside, part: "hub" },
    { name: "its Redis, which renames itself", argv: redis, cgroups: outside, part: "redis" },
    {
      name: "no part: an agent of a run with a longer name",
      argv: agent,
      cgroups: inPod.replaceAll("bench-1", "bench-10"),
      part: undefined,
    },
    {
      name: "no part: the application",
      argv: ["node", "/app/dist/deploy/shop/main.js"],
      cgroups: inPod,
      part: undefined,
    },
    { name: "no part: a kernel thread", argv: [""], cgroups: outside, part: undefined },
  ])("is $name", ({ argv, cgroups, part }) => {
    expect(partOfProcess("bench-1", { argv, cgroups })).toBe(part);
  });
});
