// The codec against protobufjs's own reflection where both can do it, and against the JSON rules where only ours can.
import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { contentVersion, decodeJson, encodeJson, encodeResource } from "./wire.ts";
import { measureEncode } from "./wire/bench.ts";
import type { JsonMessage } from "./wire/json.ts";

const clusterType = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const assignmentType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const tlsType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("a message in JSON", () => {
  it.each<readonly [string, JsonMessage]>([
    ["scalars and enums", { name: "a", type: "EDS", lb_policy: "LEAST_REQUEST" }],
    ["a duration", { name: "a", connect_timeout: "0.25s" }],
    ["a wrapper that is zero", { name: "a", per_connection_buffer_limit_bytes: 0 }],
    ["a wrapper", { name: "a", per_connection_buffer_limit_bytes: 32768 }],
    ["an Any", { name: "a", transport_socket: { name: "tls", typed_config: { "@type": tlsType, sni: "b" } } }],
    [
      "an Any of a wrapper",
      {
        name: "a",
        transport_socket: {
          name: "x",
          typed_config: { "@type": "type.googleapis.com/google.protobuf.StringValue", value: "v" },
        },
      },
    ],
    [
      "free-form metadata",
      { name: "a", metadata: { filter_metadata: { x: { list: [1, null, "s", true, { deep: [] }] } } } },
    ],
    [
      "a field that the packaged protos lack",
      { name: "a", transport_socket: { name: "tls", typed_config: { "@type": tlsType, auto_host_sni: true } } },
    ],
    [
      "a map of messages",
      {
        name: "a",
        typed_extension_protocol_options: { z: { "@type": tlsType, sni: "z" }, b: { "@type": tlsType, sni: "b" } },
      },
    ],
    ["a 64-bit number as text", { name: "a", ring_hash_lb_config: { minimum_ring_size: "9007199254740993" } }],
    ["an empty message", { name: "a", eds_cluster_config: { eds_config: { ads: {} } } }],
    ["a negative duration", { name: "a", connect_timeout: "-1.5s" }],
    [
      "base64 bytes",
      {
        name: "a",
        transport_socket: {
          name: "x",
          typed_config: { "@type": "type.googleapis.com/google.protobuf.BytesValue", value: "AAEC" },
        },
      },
    ],
    [
      "a typed struct",
      {
        name: "a",
        transport_socket: {
          name: "x",
          typed_config: { "@type": "type.googleapis.com/xds.type.v3.TypedStruct", type_url: "u", value: { a: 1 } },
        },
      },
    ],
  ])("comes back as it was: %s", (_what, message) => {
    expect(decodeJson(clusterType, encodeJson(clusterType, message))).toEqual(message);
  });

  it("has equal bytes whatever the order of its fields and map keys", () => {
    const one = encodeJson(clusterType, {
      name: "a",
      type: "EDS",
      metadata: { filter_metadata: { a: { x: 1, y: 2 }, b: {} } },
    });
    const other = encodeJson(clusterType, {
      metadata: { filter_metadata: { b: {}, a: { y: 2, x: 1 } } },
      type: "EDS",
      name: "a",
    });
    expect(hex(one)).toBe(hex(other));
    expect(contentVersion(one)).toBe(contentVersion(other));
    expect(contentVersion(one)).not.toBe(contentVersion(encodeJson(clusterType, { name: "b" })));
  });

  it("writes no default: null, empty and zero say the same as nothing", () => {
    const said = {
      name: "a",
      alt_stat_name: "",
      lb_policy: "ROUND_ROBIN",
      transport_socket: null,
      filters: [],
      dns_lookup_family: 0,
    };
    expect(hex(encodeJson(clusterType, said))).toBe(hex(encodeJson(clusterType, { name: "a" })));
  });

  it("writes what protobufjs writes by reflection", () => {
    const root = protobuf.parse(
      `syntax = "proto3"; package envoy.type.v3;
       message Int64Range { int64 start = 1; int64 end = 2; }`,
      new protobuf.Root(),
    ).root;
    const range = root.lookupType("envoy.type.v3.Int64Range");
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), (start, end) => {
        const theirs = range.encode(range.fromObject({ start: String(start), end: String(end) })).finish();
        const ours = encodeJson("envoy.type.v3.Int64Range", { start: String(start), end: String(end) });
        // reflection writes explicit zeros; canonical bytes do not
        if (start !== 0n && end !== 0n) expect(hex(ours)).toBe(hex(theirs));
      }),
    );
  });
});

describe("a mistake in a message", () => {
  it.each<readonly [string, JsonMessage, string]>([
    ["an unknown field", { naem: "a" }, "naem: envoy.config.cluster.v3.Cluster has no such field"],
    [
      "an unknown field inside an Any in a list",
      { filters: [{ name: "f", typed_config: { "@type": tlsType, snl: "x" } }] },
      "filters[0].typed_config.snl: envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext has no such field",
    ],
    ["a camelCase name", { connectTimeout: "1s" }, "connectTimeout: "],
    [
      "an unknown enum value",
      { lb_policy: "BEST" },
      'lb_policy: "BEST" is no value of envoy.config.cluster.v3.Cluster.LbPolicy',
    ],
    [
      "an unknown type",
      { filters: [{ typed_config: { "@type": "x/envoy.no.v3.Such" } }] },
      "filters[0].typed_config: no .proto declares the message envoy.no.v3.Such",
    ],
    ["an Any without a type", { filters: [{ typed_config: {} }] }, 'filters[0].typed_config: an Any must have "@type"'],
    ["a wrong scalar", { name: 7 }, "name: must be a string, is number"],
    [
      "a number out of range",
      { per_connection_buffer_limit_bytes: -1 },
      "per_connection_buffer_limit_bytes: -1 is out of range for uint32",
    ],
    [
      "a fraction",
      { per_connection_buffer_limit_bytes: 1.5 },
      "per_connection_buffer_limit_bytes: must be a whole number",
    ],
    ["a duration without a unit", { connect_timeout: "1" }, 'connect_timeout: must be a duration such as "0.5s"'],
    ["two members of a oneof", { type: "EDS", cluster_type: { name: "x" } }, "cluster_type: set together with type"],
    ["a list where one is meant", { name: ["a"] }, "name: must be a string, is a list"],
    ["one where a list is meant", { filters: {} }, "filters: must be a list"],
    [
      "text in a message's place",
      { eds_cluster_config: "x" },
      "eds_cluster_config: envoy.config.cluster.v3.Cluster.EdsClusterConfig must be an object",
    ],
  ])("is thrown with its path: %s", (_what, message, error) => {
    expect(() => encodeJson(clusterType, message)).toThrow(error);
  });
});

describe("a load assignment", () => {
  const endpoint = fc.record({
    endpoint: fc.record({
      address: fc.record({ socket_address: fc.record({ address: fc.ipV4(), port_value: fc.nat(65535) }) }),
    }),
    load_balancing_weight: fc.integer({ min: 1, max: 500 }),
  });
  const locality = fc.record(
    {
      locality: fc.record({ region: fc.constantFrom("eu", "us") }),
      lb_endpoints: fc.array(endpoint, { maxLength: 40 }),
      priority: fc.nat(3),
    },
    { requiredKeys: [] },
  );
  const assignment = fc.record(
    {
      cluster_name: fc.constantFrom("a", "b"),
      endpoints: fc.array(locality, { maxLength: 3 }),
      policy: fc.constant({ overprovisioning_factor: 100 }),
    },
    { requiredKeys: ["cluster_name", "endpoints"] },
  );
  const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as JsonMessage;

  it("has the bytes of the general encoder, however much was reused from the one before", () => {
    fc.assert(
      fc.property(fc.array(assignment, { minLength: 2, maxLength: 5 }), (steps) => {
        let previous: Uint8Array | undefined;
        for (const step of steps.map(plain)) {
          const { bytes, version } = encodeResource(assignmentType, step, previous);
          expect(hex(bytes)).toBe(hex(encodeJson(assignmentType, step)));
          expect(version).toBe(encodeResource(assignmentType, plain(step)).version);
          previous = bytes;
        }
      }),
    );
  });

  it("reuses what did not change when one endpoint changes, comes or goes", () => {
    fc.assert(
      fc.property(
        fc.array(endpoint, { minLength: 1, maxLength: 60 }),
        endpoint,
        fc.nat(60),
        fc.constantFrom("change", "insert", "remove"),
        (list, other, at, what) => {
          const before = list.map(plain);
          const after = before.toSpliced(
            at % before.length,
            what === "insert" ? 0 : 1,
            ...(what === "remove" ? [] : [plain(other)]),
          );
          const of = (lb_endpoints: readonly JsonMessage[]) => ({ cluster_name: "a", endpoints: [{ lb_endpoints }] });
          const first = encodeResource(assignmentType, of(before));
          const second = encodeResource(assignmentType, of(after), first.bytes);
          expect(hex(second.bytes)).toBe(hex(encodeJson(assignmentType, of(after))));
          expect(second.version === first.version).toBe(hex(first.bytes) === hex(second.bytes));
        },
      ),
    );
  });

  it("costs a fraction of the whole when one endpoint of a thousand changes", async () => {
    const { changeUs, wholeUs } = await measureEncode(1000, 60);
    expect(changeUs).toBeLessThan(wholeUs / 4);
  });

  it("is refused with the same path as any message", () => {
    const wrong = { cluster_name: "a", endpoints: [{ lb_endpoints: [{}, { endpoint: { adress: {} } }] }] };
    expect(() => encodeResource(assignmentType, wrong)).toThrow("endpoints[0].lb_endpoints[1].endpoint.adress: ");
  });
});
