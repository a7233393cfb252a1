import { expect, it } from "vitest";
import type { BoundInput, ServiceInput } from "../ir/inputs.ts";
import { hostsText } from "./host-names.ts";

const service = (name: string, more: Partial<ServiceInput> = {}): ServiceInput => ({
  namespace: "shop",
  name,
  clusterIps: ["127.64.0.2"],
  type: "ClusterIP",
  selector: {},
  ports: [],
  importOf: "",
  ...more,
});
const bound = (blockStart: string): BoundInput => ({
  applications: [],
  inboundAddresses: [blockStart],
  httpProxy: { address: blockStart, port: 15001 },
  loopback: { rangeStart: blockStart === "" ? "" : "127.64.0.0", blockStart },
  lowestPort: 1024,
});
const services = [
  service("isthmus-catalog", { clusterIps: ["127.64.0.7"], importOf: "books/catalog" }),
  service("cart"),
  service("headless", { clusterIps: [], type: "Headless" }),
];

it("a service has its names at its address in the workload's own block; its bare name is its own namespace's", () => {
  expect(hostsText(services, bound("127.64.32.0"), "shop").split("\n").slice(1)).toEqual([
    "127.64.32.2 cart.shop.svc.cluster.local cart.shop.svc cart.shop cart",
    "127.64.32.7 catalog.books.svc.clusterset.local",
    "",
  ]);
  expect(hostsText(services, bound("127.64.16.0"), "books")).toContain(
    "127.64.16.2 cart.shop.svc.cluster.local cart.shop.svc cart.shop\n",
  );
});

it("there are no names where there are no loopback addresses", () => {
  expect(hostsText(services, bound(""), "shop")).toBe("");
});
