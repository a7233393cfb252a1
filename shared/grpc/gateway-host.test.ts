import { describe, expect, it } from "vitest";
import { checkGatewayHost } from "./gateway-host.ts";

const strict = { allowLoopback: false };

describe("a gateway's address", () => {
  it.each([
    "192.0.2.1",
    "10.0.0.1",
    "198.18.255.254",
    "172.16.0.1",
    "1.0.0.0",
    "2001:db8::1",
    "2001:db8:0:0:0:0:0:1",
    "fd00::1",
    "::ffff:192.0.2.1",
    "64:ff9b::192.0.2.1",
  ])("%s is taken", (host) => {
    expect(checkGatewayHost(host, strict)).toEqual({ ok: true, value: host });
  });

  it.each([
    ["a loopback", ["127.0.0.1", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1"]],
    ["a v4-compatible loopback", ["::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1"]],
    [
      "link-local, where cloud metadata lives",
      ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "febf::1", "fec0::1"],
    ],
    ["unspecified", ["0.0.0.0", "0.1.2.3", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"]],
    ["multicast or broadcast", ["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "::ffff:224.0.0.1"]],
    [
      "no literal",
      ["localhost", "example.com", "", " 192.0.2.1", "192.0.2.1 ", "192.0.2.1:80", "[::1]", "fe80::1%eth0"],
    ],
    [
      "an odd spelling",
      ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "192.0.2.01", "192.0.2.256", "1.2.3", "1.2.3.4.5"],
    ],
    [
      "broken IPv6",
      ["1::2::3", ":::", "::g", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8:9", "12345::", "::1.2.3"],
    ],
  ])("%s is refused", (_, hosts) => {
    const taken = hosts.filter((host) => checkGatewayHost(host, strict).ok);
    expect(taken).toEqual([]);
  });

  it("may be loopback for sites on one machine, and still nothing else", () => {
    const sites = { allowLoopback: true };
    const allowed = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0", "ff02::1"].filter(
      (host) => checkGatewayHost(host, sites).ok,
    );
    expect(allowed).toEqual(["127.0.0.1", "::1", "::ffff:127.0.0.1"]);
  });

  it("is named with its field, and never at length", () => {
    const refused = checkGatewayHost("x".repeat(10_000), strict, "addresses[1].host");
    expect(refused.ok ? "" : refused.error[0]?.field).toBe("addresses[1].host");
    expect(refused.ok ? 0 : refused.error[0]?.message.length).toBeLessThan(200);
  });
});
