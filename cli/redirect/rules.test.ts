import { expect, it } from "vitest";
import { parseOwnGroup } from "./group.ts";
import { checkMayRedirect } from "./redirect.ts";
import { redirectRules, type RedirectPlan } from "./rules.ts";

const plan: RedirectPlan = {
  table: "isthmus_run_1_2_3",
  group: "system.slice/isthmus-cart.service/isthmus_run_1_2_3",
  sidecar: {
    applications: [
      { port: 8080, address: "127.0.0.1", applicationPort: 9090 },
      { port: 5432, address: "127.0.0.1", applicationPort: 5433 },
    ],
    inboundAddresses: ["127.64.16.0"],
    blockStart: "127.64.16.0",
    redirect: { address: "127.64.16.0", port: 15_002, range: "127.64.0.0/12" },
  },
  agent: { uid: 990, address: "127.0.0.1" },
  dns: { port: 15_053, portV6: 40_001 },
};

it("the ruleset of a workload that takes calls", () => {
  expect(redirectRules(plan)).toMatchInlineSnapshot(`
    "add table inet isthmus_run_1_2_3
    delete table inet isthmus_run_1_2_3
    table inet isthmus_run_1_2_3 {
      chain application {
        meta nfproto ipv4 udp dport 53 dnat ip to 127.64.16.0:15053
        meta nfproto ipv4 tcp dport 53 dnat ip to 127.64.16.0:15053
        meta nfproto ipv6 udp dport 53 dnat ip6 to [::1]:40001
        meta nfproto ipv6 tcp dport 53 dnat ip6 to [::1]:40001
        meta nfproto ipv4 meta l4proto tcp ip daddr 127.64.0.0/12 dnat ip to 127.64.16.0:15002
        ip daddr 127.0.0.0/8 return
        meta nfproto ipv4 meta l4proto tcp dnat ip to 127.64.16.0:15002
      }
      chain output {
        type nat hook output priority -100; policy accept;
        socket cgroupv2 level 4 "system.slice/isthmus-cart.service/isthmus_run_1_2_3/application" jump application
      }
      chain guard {
        type filter hook output priority 0; policy accept;
        meta l4proto != tcp accept
        ct state != new accept
        oifname "lo" tcp dport { 5433, 9090 } socket cgroupv2 level 3 "system.slice/isthmus-cart.service/isthmus_run_1_2_3" meta mark set meta mark or 0x2000
        oifname "lo" tcp dport { 5433, 9090 } meta skuid 990 meta mark set meta mark or 0x2000
        socket cgroupv2 level 4 "system.slice/isthmus-cart.service/isthmus_run_1_2_3/application" meta nfproto ipv6 ip6 daddr != ::1 reject with tcp reset
        meta nfproto ipv6 accept
        ip daddr != 127.64.16.0/20 accept
        socket cgroupv2 level 3 "system.slice/isthmus-cart.service/isthmus_run_1_2_3" accept
        ip daddr 127.64.16.0 tcp dport { 5432, 8080 } accept
        reject with tcp reset
      }
      chain inbound {
        type filter hook input priority 0; policy accept;
        tcp dport != { 5433, 9090 } accept
        ct state != new accept
        iifname "lo" meta mark and 0x2000 == 0x2000 accept
        socket cgroupv2 level 4 "system.slice/isthmus-cart.service/isthmus_run_1_2_3/application" reject with tcp reset
      }
    }
    "
  `);
});

it("a workload that only calls, on a machine without IPv6, has fewer rules", () => {
  const caller = { ...plan, sidecar: { ...plan.sidecar, applications: [] }, dns: { port: 15_053, portV6: undefined } };
  const lines = (text: string) => text.split("\n").map((line) => line.trim());
  const kept = lines(redirectRules(caller));
  expect(lines(redirectRules(plan)).filter((line) => !kept.includes(line))).toMatchInlineSnapshot(`
    [
      "meta nfproto ipv6 udp dport 53 dnat ip6 to [::1]:40001",
      "meta nfproto ipv6 tcp dport 53 dnat ip6 to [::1]:40001",
      "oifname "lo" tcp dport { 5433, 9090 } socket cgroupv2 level 3 "system.slice/isthmus-cart.service/isthmus_run_1_2_3" meta mark set meta mark or 0x2000",
      "oifname "lo" tcp dport { 5433, 9090 } meta skuid 990 meta mark set meta mark or 0x2000",
      "ip daddr 127.64.16.0 tcp dport { 5432, 8080 } accept",
      "tcp dport != { 5433, 9090 } accept",
      "iifname "lo" meta mark and 0x2000 == 0x2000 accept",
      "socket cgroupv2 level 4 "system.slice/isthmus-cart.service/isthmus_run_1_2_3/application" reject with tcp reset",
    ]
  `);
});

it("an agent on another machine asks after the application's health from there", () => {
  const rules = (address: string) => redirectRules({ ...plan, agent: { uid: 990, address } });
  expect(rules("192.0.2.1")).toContain("ip saddr 192.0.2.1 accept");
  expect(rules("2001:db8::1")).toContain("ip6 saddr 2001:db8::1 accept");
  expect(rules("::1")).not.toContain("saddr");
  expect(rules("192.0.2.1")).not.toContain("skuid");
});

it("a workload with addresses of its own takes no calls in its block", () => {
  const text = redirectRules({ ...plan, sidecar: { ...plan.sidecar, inboundAddresses: ["192.0.2.7"] } });
  expect(text).not.toContain("5432, 8080");
});

it.each([
  { who: "another user", uid: 1000, platform: "linux" },
  { who: "root of a system without nftables", uid: 0, platform: "darwin" },
])("$who is told at once, and what to do instead", ({ uid, platform }) => {
  expect(() => checkMayRedirect(uid, platform)).toThrow(
    expect.objectContaining({ code: "ISTHMUS_ROOT", hint: expect.stringContaining("--user") as string }) as Error,
  );
  expect(() => checkMayRedirect(0, "linux")).not.toThrow();
});

it.each([
  ["12:pids:/\n0::/system.slice/cart.service\n", "system.slice/cart.service"],
  ["9:name=systemd:/\n0::/\n", ""],
  ["9:name=systemd:/user.slice\n", ""],
])("the own group of %j is %j", (text, group) => {
  expect(parseOwnGroup(text)).toBe(group);
});
