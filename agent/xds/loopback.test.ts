import { expect, it } from "vitest";
import { addressInBlock } from "./loopback.ts";

const loopback = { rangeStart: "127.64.0.0", blockStart: "127.64.32.0" };

it.each([
  ["127.64.0.1", "127.64.32.1"],
  ["127.64.1.44", "127.64.33.44"],
  ["127.64.15.254", "127.64.47.254"],
])("%s is called at %s in this block", (clusterIp, address) => {
  expect(addressInBlock(clusterIp, loopback)).toBe(address);
});

it.each([
  ["the first address, which is the workload's own", "127.64.0.0"],
  ["the last address of the first block", "127.64.15.255"],
  ["an address of another workload's block", "127.64.16.1"],
  ["an address before the range", "127.63.255.255"],
  ["an address of a cluster", "10.96.0.1"],
  ["an IPv6 address", "fd00::1"],
  ["no address", ""],
])("%s has none in this block", (_what, clusterIp) => {
  expect(addressInBlock(clusterIp, loopback)).toBeUndefined();
});

it("nothing has one where there are no loopback addresses", () => {
  expect(addressInBlock("127.64.0.1", { rangeStart: "", blockStart: "" })).toBeUndefined();
});
