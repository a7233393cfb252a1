import { expect, it } from "vitest";
import { encodeJson } from "../../shared/wire.ts";
import { decodeLoadReport, encodeLoadWish } from "./load-messages.ts";

it("a load report is read as Envoy's own definition writes it, all clusters together", () => {
  const locality = (succeeded: number, failed: number) => ({
    locality: { region: "x" },
    total_successful_requests: succeeded,
    total_requests_in_progress: 7,
    total_error_requests: failed,
    total_issued_requests: succeeded + failed,
  });
  const bytes = encodeJson("envoy.service.load_stats.v3.LoadStatsRequest", {
    node: { id: "sidecar~cart-0.shop", cluster: "c", locality: { zone: "z" } },
    cluster_stats: [
      { cluster_name: "application|8080|h1", upstream_locality_stats: [locality(300, 5), locality(1, 0)] },
      { cluster_name: "application|8080|h2", upstream_locality_stats: [locality(0, 2)], total_dropped_requests: 3 },
    ],
  });
  expect(decodeLoadReport(bytes)).toEqual({
    nodeId: "sidecar~cart-0.shop",
    answers: { succeeded: 301, failed: 7 },
  });
});

it("a report of nothing is one of no answers; bytes that are none throw", () => {
  expect(decodeLoadReport(new Uint8Array())).toEqual({ nodeId: "", answers: { succeeded: 0, failed: 0 } });
  expect(() => decodeLoadReport(new Uint8Array([0x12, 0x7f, 1]))).toThrow(RangeError);
});

it("what is asked for is what Envoy's own definition reads", () => {
  const wish = { clusters: ["application|8080|h1", "application|8080|h2"], load_reporting_interval: "2s" };
  expect(encodeLoadWish(wish.clusters, 2)).toEqual(
    Buffer.from(encodeJson("envoy.service.load_stats.v3.LoadStatsResponse", wish)),
  );
});
