import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseRange } from "../../shared/address-range.ts";
import { findEnvoy } from "../xds/testing/envoy.ts";
import { redirectRules } from "./redirect-rules.ts";
import { noExclusions, type TrafficExclusions } from "./settings.ts";
import {
  openRedirectedPod,
  outsideAddress,
  podAddress,
  redirectMissing,
  type Caller,
  type RedirectedPod,
} from "./testing/redirected-pod.ts";

const openPorts = [15010, 15021, 15901];

function rules(exclusions: Partial<TrafficExclusions> = {}): string {
  return redirectRules({ exclusions: { ...noExclusions, ...exclusions }, openPorts });
}

test("the ruleset of a pod without exclusions", () => {
  expect(rules()).toMatchInlineSnapshot(`
    "add table inet isthmus
    delete table inet isthmus
    table inet isthmus {
      chain output {
        type nat hook output priority -100; policy accept;
        meta l4proto != tcp accept
        meta skuid 1337 oifname "lo" ip daddr != 127.0.0.0/8 tcp dport != { 15010, 15021, 15901 } redirect to :15003
        meta skuid 1337 oifname "lo" ip6 daddr != ::1 tcp dport != { 15010, 15021, 15901 } redirect to :15003
        meta skuid 1337 accept
        oifname "lo" accept
        meta l4proto tcp redirect to :15001
      }
      chain prerouting {
        type nat hook prerouting priority -100; policy accept;
        meta l4proto != tcp accept
        tcp dport { 15010, 15021, 15901 } accept
        meta l4proto tcp redirect to :15003
      }
    }
    "
  `);
});

test("exclusions become rules before the redirect, one for each range", () => {
  const text = rules({
    outboundPorts: [6379, 3306, 6379],
    inboundPorts: [8081],
    outboundRanges: ["10.0.0.0/8", "10.1.0.0/16", "fd02::/64", "192.0.2.1"],
  });
  expect(text.split("\n").filter((line) => line.includes("accept") && !line.includes("policy"))).toMatchInlineSnapshot(`
    [
      "    meta l4proto != tcp accept",
      "    meta skuid 1337 accept",
      "    oifname "lo" accept",
      "    tcp dport { 3306, 6379 } accept",
      "    ip daddr 10.0.0.0/8 accept",
      "    ip daddr 10.1.0.0/16 accept",
      "    ip6 daddr fd02::/64 accept",
      "    ip daddr 192.0.2.1/32 accept",
      "    meta l4proto != tcp accept",
      "    tcp dport { 8081, 15010, 15021, 15901 } accept",
    ]
  `);
});

test("text that is no address never reaches the ruleset", () => {
  const tries = [
    "10.0.0.0/33",
    "10.0.0.0/8 accept; drop",
    "fe80::1%eth0",
    "10.0.0",
    "::/129",
    "1.2.3.4/",
    "1.2.3.4/8/8",
    "",
    "a",
  ];
  for (const text of tries) {
    expect(parseRange(text), text).toBeUndefined();
    expect(() => rules({ outboundRanges: [text] }), text).toThrow();
  }
  expect(() => rules({ outboundPorts: [0] })).toThrow();
  expect(() => rules({ inboundPorts: [70_000] })).toThrow();
});

function missing(): string | undefined {
  const reason = redirectMissing();
  if (reason === undefined) {
    const found = findEnvoy();
    return "missing" in found ? found.missing : undefined;
  }
  if (process.env["CI"] === "true") throw new Error(`${reason} (with CI=true this test may not be skipped)`);
  console.warn(`skipped: ${reason}`);
  return reason;
}

interface Row {
  readonly name: string;
  readonly caller: Caller;
  readonly host: string;
  readonly port: number;
  readonly answeredBy: string;
  /** Empty: nothing was redirected. */
  readonly originalDestination?: string;
}

const { v4: pod4, v6: pod6 } = podAddress;
const { v4: outside4, v6: outside6 } = outsideAddress;

const redirected: readonly Row[] = [
  {
    name: "what the application sends goes to the outbound listener",
    caller: "application",
    host: outside4,
    port: 9090,
    answeredBy: "outbound",
    originalDestination: `${outside4}:9090`,
  },
  {
    name: "over IPv6 too",
    caller: "application",
    host: outside6,
    port: 9090,
    answeredBy: "outbound",
    originalDestination: `[${outside6}]:9090`,
  },
  {
    name: "to an address that nobody has too",
    caller: "application",
    host: "10.1.0.77",
    port: 80,
    answeredBy: "outbound",
    originalDestination: "10.1.0.77:80",
  },
  {
    name: "what comes from outside goes to the inbound listener",
    caller: "outside",
    host: pod4,
    port: 8080,
    answeredBy: "inbound",
    originalDestination: `${pod4}:8080`,
  },
  {
    name: "over IPv6 from outside too",
    caller: "outside",
    host: pod6,
    port: 8080,
    answeredBy: "inbound",
    originalDestination: `[${pod6}]:8080`,
  },
  {
    name: "a port on which nothing listens too",
    caller: "outside",
    host: pod4,
    port: 4444,
    answeredBy: "inbound",
    originalDestination: `${pod4}:4444`,
  },
  {
    name: "Envoy's own listeners cannot be addressed from outside",
    caller: "outside",
    host: pod4,
    port: 15001,
    answeredBy: "inbound",
    originalDestination: `${pod4}:15001`,
  },
  { name: "Envoy's own traffic leaves as it is", caller: "proxy", host: outside4, port: 9090, answeredBy: "outside" },
  {
    name: "Envoy reaching its own pod through a service passes the inbound listener",
    caller: "proxy",
    host: pod4,
    port: 8080,
    answeredBy: "inbound",
    originalDestination: `${pod4}:8080`,
  },
  {
    name: "over IPv6 Envoy reaching its own pod too",
    caller: "proxy",
    host: pod6,
    port: 8080,
    answeredBy: "inbound",
    originalDestination: `[${pod6}]:8080`,
  },
  {
    name: "Envoy reaches the application over loopback",
    caller: "proxy",
    host: "127.0.0.1",
    port: 8080,
    answeredBy: "application",
  },
  {
    name: "the application reaches itself over loopback",
    caller: "application",
    host: "127.0.0.1",
    port: 8080,
    answeredBy: "application",
  },
  {
    name: "the application reaches itself over IPv6 loopback",
    caller: "application",
    host: "::1",
    port: 8080,
    answeredBy: "application",
  },
  {
    name: "the application reaches itself by the pod's address",
    caller: "application",
    host: pod4,
    port: 8080,
    answeredBy: "application",
  },
  {
    name: "readiness is outside the redirect",
    caller: "outside",
    host: pod4,
    port: 15021,
    answeredBy: "readiness",
    originalDestination: `${pod4}:15021`,
  },
  {
    name: "rewritten probes are outside the redirect",
    caller: "outside",
    host: pod4,
    port: 15901,
    answeredBy: "probe",
    originalDestination: `${pod4}:15901`,
  },
];

const excluded: readonly Row[] = [
  {
    name: "an excluded outbound port leaves as it is",
    caller: "application",
    host: outside4,
    port: 9091,
    answeredBy: "outside",
  },
  {
    name: "others still go to the proxy",
    caller: "application",
    host: outside4,
    port: 9090,
    answeredBy: "outbound",
    originalDestination: `${outside4}:9090`,
  },
  {
    name: "an excluded IPv6 range leaves as it is",
    caller: "application",
    host: outside6,
    port: 9090,
    answeredBy: "outside",
  },
  {
    name: "an excluded inbound port reaches the application",
    caller: "outside",
    host: pod4,
    port: 8081,
    answeredBy: "application",
  },
  {
    name: "Envoy reaches an excluded port of its own pod",
    caller: "proxy",
    host: pod4,
    port: 8081,
    answeredBy: "application",
  },
];

const onlyRanges: readonly Row[] = [
  {
    name: "a range to be redirected is",
    caller: "application",
    host: "10.1.0.77",
    port: 80,
    answeredBy: "outbound",
    originalDestination: "10.1.0.77:80",
  },
  { name: "what lies outside it is not", caller: "application", host: outside4, port: 9090, answeredBy: "outside" },
];

const reason = missing();

describe.skipIf(reason !== undefined)("in a real network namespace with a real Envoy", { timeout: 120_000 }, () => {
  let pod: RedirectedPod;

  beforeAll(async () => {
    const found = findEnvoy();
    if ("path" in found) pod = await openRedirectedPod(found.path);
  });

  afterAll(() => pod.stop());

  function check(text: string, rows: readonly Row[]): void {
    pod.apply(text);
    for (const { name, caller, host, port, answeredBy, originalDestination } of rows) {
      const wanted = { answeredBy, originalDestination: originalDestination ?? "" };
      expect(pod.call(caller, host, port), name).toEqual(wanted);
    }
  }

  test("every direction goes where it should, with its original destination", () => check(rules(), redirected));

  test("exclusions leave the rest as it was, and running the rules again replaces them", () =>
    check(rules({ outboundPorts: [9091], inboundPorts: [8081], outboundRanges: ["fd01::/64", "fd01::2"] }), excluded));

  test("with ranges to include, only those are redirected", () =>
    check(rules({ outboundOnlyRanges: ["10.1.0.64/26"] }), onlyRanges));
});
