import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RegistryRecord } from "../registry.ts";
import { codecOf } from "./fleet-codec.ts";
import type { PublishBatch, WireRecord } from "./fleet-messages.ts";
import { fromWire, toWire } from "./record-wire.ts";

const rules = { allowLoopback: false };
const label = fc
  .stringMatching(/^[a-z]([a-z0-9-]{0,20}[a-z0-9])?$/)
  .filter((name) => !["agent", "hub", "sni", "root", "all"].includes(name));
const port = fc.integer({ min: 1, max: 65_535 });

const records: fc.Arbitrary<RegistryRecord> = fc.oneof(
  fc.record({
    kind: fc.constant("service" as const),
    cluster: label,
    namespace: label,
    name: label,
    exportedAtMs: fc.nat(2 ** 47),
    type: fc.constantFrom("ClusterSetIP" as const, "Headless" as const),
    ports: fc.uniqueArray(
      fc.record({
        name: fc.oneof(fc.constant(""), label),
        port,
        protocol: fc.constantFrom("TCP" as const, "UDP" as const, "SCTP" as const),
        appProtocol: fc.constantFrom("", "http", "kubernetes.io/h2c"),
      }),
      { maxLength: 5, selector: (entry) => `${entry.port}/${entry.protocol}` },
    ),
    serviceAccounts: fc.uniqueArray(label, { maxLength: 5 }).map((names) => names.sort()),
  }),
  fc.record({
    kind: fc.constant("capacity" as const),
    cluster: label,
    namespace: label,
    name: label,
    ports: fc.array(
      fc.record({ port, total: fc.nat(1_000), part: fc.double({ min: 0, max: 1, noNaN: true }) }).map((entry) => ({
        port: entry.port,
        ready: Math.floor(entry.total * entry.part),
        total: entry.total,
        ...(entry.part === 1 && entry.total > 0 ? { failing: entry.total } : {}),
      })),
      { maxLength: 5 },
    ),
  }),
  fc.record({
    kind: fc.constant("gateway" as const),
    cluster: label,
    addresses: fc.array(fc.record({ host: fc.constantFrom("192.0.2.7", "2001:db8::7"), port }), { maxLength: 3 }),
    region: fc.constantFrom("", "eu-1"),
    zone: fc.constantFrom("", "eu-1a"),
  }),
  fc.record({
    kind: fc.constant("policy" as const),
    cluster: label,
    policyKind: fc.constantFrom("TrafficTarget", "TCPRoute"),
    namespace: label,
    name: label,
    members: fc.oneof(
      fc.constant(["*"]),
      fc.uniqueArray(label, { minLength: 1, maxLength: 4 }).map((names) => names.sort()),
    ),
    manifest: fc.json(),
  }),
);

describe("a record on the wire", () => {
  const codec = codecOf<PublishBatch>("PublishBatch");
  const overTheWire = (record: WireRecord) => {
    const batch = { session: "s", startedAtMs: 1, sequence: 1, puts: [record], deleteKeys: [], synced: false };
    return codec.decode(codec.encode(batch)).puts[0]!;
  };

  it("arrives as it was sent", () => {
    fc.assert(
      fc.property(records, (record) => {
        expect(fromWire(overTheWire(toWire(record)), rules)).toEqual({ ok: true, value: record });
      }),
    );
  });

  it("of any shape is answered with a record or with problems, never with a throw", () => {
    const anything = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(anything, (bytes) => {
        let decoded: PublishBatch;
        try {
          decoded = codec.decode(bytes);
        } catch {
          return; // not a message: gRPC answers for us
        }
        for (const record of decoded.puts) expect(typeof fromWire(record, rules).ok).toBe("boolean");
      }),
      { numRuns: 2_000 },
    );
  });

  const service = {
    namespace: "shop",
    name: "cart",
    exportedAtMs: 1,
    type: "ClusterSetIP",
    ports: [{ name: "", port: 80, protocol: "TCP", appProtocol: "" }],
    serviceAccounts: ["cart"],
  };
  const gateway = { addresses: [{ host: "192.0.2.1", port: 1 }], region: "", zone: "" };
  const of = (kind: "service" | "gateway" | "capacity", value: object, cluster = "west") =>
    ({ cluster, kind, [kind]: value }) as unknown as WireRecord;

  it.each([
    ["a cluster that is no label", of("service", service, "West"), "cluster"],
    ["a reserved cluster name", of("service", service, "hub"), "cluster"],
    ["a namespace that would break out of an SNI name", of("service", { ...service, namespace: "a.b" }), "namespace"],
    ["a service name with an upper-case letter", of("service", { ...service, name: "Cart" }), "name"],
    ["a port of 0", of("service", { ...service, ports: [{ ...service.ports[0], port: 0 }] }), "ports[0].port"],
    [
      "an unknown protocol",
      of("service", { ...service, ports: [{ ...service.ports[0], protocol: "ICMP" }] }),
      "ports[0].protocol",
    ],
    ["the same port twice", of("service", { ...service, ports: [service.ports[0], service.ports[0]] }), "ports"],
    ["an account with a slash", of("service", { ...service, serviceAccounts: ["a/b"] }), "serviceAccounts[0]"],
    ["a type it does not know", of("service", { ...service, type: "NodePort" }), "type"],
    ["a time beyond what a number holds", of("service", { ...service, exportedAtMs: 2 ** 60 }), "exportedAtMs"],
    [
      "more ready than total",
      of("capacity", { namespace: "a", name: "b", ports: [{ port: 1, ready: 2, total: 1 }] }),
      "ports[0].ready",
    ],
    [
      "more failing than ready",
      of("capacity", { namespace: "a", name: "b", ports: [{ port: 1, ready: 1, total: 3, failing: 2 }] }),
      "ports[0].failing",
    ],
    [
      "a gateway on loopback",
      of("gateway", { ...gateway, addresses: [{ host: "::1", port: 1 }] }),
      "addresses[0].host",
    ],
    ["a zone with a line break", of("gateway", { ...gateway, zone: "a\nb" }), "zone"],
    ["a kind of a later version", { cluster: "west" }, "kind"],
  ])("with %s is refused, naming the field", (_, wire, field) => {
    const read = fromWire(wire, rules);
    expect(read.ok ? [] : read.error.map((problem) => problem.field)).toEqual([field]);
  });

  it("with several mistakes names them all", () => {
    const read = fromWire(of("service", { ...service, name: "-", type: "x" }, "West"), rules);
    expect(read.ok ? 0 : read.error.length).toBe(3);
  });
});
