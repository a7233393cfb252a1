import { describe, expect, it } from "vitest";
import type { ServiceInput } from "../ir/inputs.ts";
import { afterAnswer, unknownHealth } from "./health-verdict.ts";
import { undeclaredServices, workloadSlices, type PlacedWorkload } from "./workload-slices.ts";
import type { WorkloadManifest } from "./workload.ts";

function workload(name: string, change: Partial<WorkloadManifest> = {}): WorkloadManifest {
  const application = { address: "127.0.0.1", port: 9090 };
  return {
    ...{ namespace: "shop", name, labels: { app: "cart" }, serviceAccount: name, service: "", addresses: [] },
    ports: [{ name: "http", port: 8080, appProtocol: "http", application }],
    ...{ user: "", redirect: false, pid: 0 },
    ...change,
  };
}

function placed(name: string, address: string, change: Partial<WorkloadManifest> = {}): PlacedWorkload {
  return { workload: workload(name, change), address, ready: true };
}

const cart: ServiceInput = {
  ...{ namespace: "shop", name: "cart", clusterIps: [], type: "ClusterIP", selector: { app: "cart" }, importOf: "" },
  ports: [{ name: "web", port: 80, targetPort: "http", protocol: "TCP", appProtocol: "http" }],
};

describe("slices of a site", () => {
  it("hold the workloads that a selector picks or that name the Service, of its namespace only", () => {
    const workloads = [
      placed("a", "127.64.0.0"),
      placed("b", "127.64.16.0", { labels: {}, service: "cart" }),
      placed("c", "127.64.32.0", { labels: {} }),
      placed("d", "127.64.48.0", { namespace: "other" }),
    ];
    expect(workloadSlices([cart], workloads)).toMatchObject([
      {
        ...{ namespace: "shop", service: "cart", ports: [{ name: "web", port: 8080 }] },
        endpoints: [
          { address: "127.64.0.0", podName: "a", ready: true },
          { address: "127.64.16.0", podName: "b" },
        ],
      },
    ]);
  });

  it("are one for each meaning of a named port, and leave out a port that a workload lacks", () => {
    const application = { address: "127.0.0.1", port: 1 };
    const workloads = [
      placed("a", "127.64.0.0"),
      placed("b", "127.64.16.0", { ports: [{ name: "http", port: 8081, appProtocol: "", application }] }),
      placed("c", "127.64.32.0", { ports: [] }),
    ];
    const ports = workloadSlices([cart], workloads).map((slice) => [
      slice.ports,
      slice.endpoints.map((each) => each.podName),
    ]);
    expect(ports).toEqual([
      [[], ["c"]],
      [[{ name: "web", port: 8080 }], ["a"]],
      [[{ name: "web", port: 8081 }], ["b"]],
    ]);
  });

  it("leave Services without a selector to whoever wrote their slices", () => {
    expect(workloadSlices([{ ...cart, selector: {} }], [placed("a", "127.64.0.0")])).toEqual([]);
  });

  it("belong to a Service made of its workloads' ports where nobody declared it", () => {
    const application = { address: "127.0.0.1", port: 1 };
    const more = [{ name: "http", port: 9000, appProtocol: "grpc", application }];
    const workloads = [workload("a", { service: "cart" }), workload("b", { service: "cart", ports: more })];
    expect(undeclaredServices(workloads, [])).toMatchObject([
      {
        ...{ namespace: "shop", name: "cart", selector: {} },
        ports: [
          { name: "http", port: 8080, targetPort: 8080, appProtocol: "http" },
          { name: "p9000", port: 9000, appProtocol: "grpc" },
        ],
      },
    ]);
    expect(undeclaredServices(workloads, [cart])).toEqual([]);
  });
});

describe("a verdict on a workload's health", () => {
  it.each<[string, readonly boolean[], readonly (boolean | undefined)[]]>([
    ["is not ready before the first good answer", [false, false, true], [false, false, true]],
    ["is ready with the first good answer", [true], [true]],
    ["outlives one bad answer, not two", [true, false, false], [true, true, false]],
    ["counts bad answers in a row only", [true, false, true, false, true], [true, true, true, true, true]],
    ["comes back with one good answer", [true, false, false, true], [true, true, false, true]],
  ])("%s", (_what, answers, readiness) => {
    let verdict = unknownHealth;
    const seen = answers.map((answer) => (verdict = afterAnswer(verdict, answer)).ready);
    expect(seen).toEqual(readiness);
  });
});
