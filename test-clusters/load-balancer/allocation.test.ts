import { describe, expect, it } from "vitest";
import { planAddresses, type LoadBalancerService } from "./allocation.ts";

const pool = "198.18.1.128/29"; // usable: .129 to .134

interface Given {
  readonly name: string;
  readonly type?: string;
  readonly ip?: string;
  readonly wish?: string;
  readonly class?: string;
  readonly born?: string;
}

function service(given: Given): LoadBalancerService {
  return {
    metadata: { namespace: "shop", name: given.name, creationTimestamp: given.born ?? "2026-01-01T00:00:00Z" },
    spec: {
      type: given.type ?? "LoadBalancer",
      ...(given.wish === undefined ? {} : { loadBalancerIP: given.wish }),
      ...(given.class === undefined ? {} : { loadBalancerClass: given.class }),
    },
    ...(given.ip === undefined ? {} : { status: { loadBalancer: { ingress: [{ ip: given.ip }] } } }),
  };
}

interface Row {
  readonly name: string;
  readonly services: readonly Given[];
  readonly want: Readonly<Record<string, string | undefined>>;
}

const rows: readonly Row[] = [
  { name: "a new service gets the first free address", services: [{ name: "a" }], want: { a: "198.18.1.129" } },
  {
    name: "one that has an address keeps it, nothing is written",
    services: [{ name: "a", ip: "198.18.1.131" }],
    want: {},
  },
  {
    name: "an address in use is not given twice",
    services: [{ name: "a", ip: "198.18.1.129" }, { name: "b" }],
    want: { b: "198.18.1.130" },
  },
  {
    name: "the older of two with one address keeps it",
    services: [
      { name: "late", ip: "198.18.1.129", born: "2026-01-02T00:00:00Z" },
      { name: "early", ip: "198.18.1.129" },
    ],
    want: { late: "198.18.1.130" },
  },
  {
    name: "a wish inside the pool is granted",
    services: [{ name: "a", wish: "198.18.1.133" }],
    want: { a: "198.18.1.133" },
  },
  { name: "a wish outside the pool stays pending", services: [{ name: "a", wish: "10.0.0.1" }], want: {} },
  {
    name: "a taken wish stays pending",
    services: [
      { name: "a", ip: "198.18.1.129" },
      { name: "b", wish: "198.18.1.129" },
    ],
    want: {},
  },
  { name: "another controller's class is left alone", services: [{ name: "a", class: "metal.example/lb" }], want: {} },
  { name: "other types get none", services: [{ name: "a", type: "ClusterIP" }], want: {} },
  {
    name: "a service that is no longer of the type gives its address back",
    services: [{ name: "a", type: "ClusterIP", ip: "198.18.1.129" }, { name: "b" }],
    want: { a: undefined, b: "198.18.1.129" },
  },
  {
    name: "an address from elsewhere is replaced",
    services: [{ name: "a", ip: "203.0.113.9" }],
    want: { a: "198.18.1.129" },
  },
  {
    name: "with the pool used up the youngest wait",
    services: Array.from({ length: 7 }, (_, index) => ({ name: `s${index}` })),
    want: Object.fromEntries(Array.from({ length: 6 }, (_, index) => [`s${index}`, `198.18.1.${129 + index}`])),
  },
];

describe("load balancer addresses", () => {
  it.each(rows)("$name", ({ services, want }) => {
    const changes = planAddresses(services.map(service), pool);
    expect(Object.fromEntries(changes.map((change) => [change.name, change.ip]))).toEqual(want);
  });
});
