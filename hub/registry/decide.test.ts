import { describe, expect, it } from "vitest";
import type { WireRecord } from "../../shared/grpc/fleet-messages.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { recordKey } from "../../shared/registry.ts";
import { decidePublish, decodeRecord, encodeRecord, staleKeys } from "./decide.ts";

const west = "west" as ClusterName;
const rules = { allowLoopback: false, maxRecords: 3, maxPolicies: 1 };

function capacity(cluster: string, name: string): WireRecord {
  return {
    cluster,
    kind: "capacity",
    capacity: { namespace: "shop", name, ports: [{ port: 80, ready: 1, total: 2 }] },
  };
}

function policy(name: string, more: object = {}): WireRecord {
  const fields = { policyKind: "TCPRoute", namespace: "shop", name, members: ["*"], manifest: "{}", ...more };
  return { cluster: "west", kind: "policy", policy: fields };
}

const policyKey = (name: string) => `west/policy/shop/TCPRoute/${name}`;
const key = (name: string) => `west/capacity/shop/${name}`;

describe("a batch of a member", () => {
  const cases = [
    {
      name: "takes the member's own records",
      puts: [capacity("west", "a")],
      taken: [key("a")],
      problems: [],
    },
    {
      name: "refuses a record of another member and takes the rest",
      puts: [capacity("east", "a"), capacity("west", "b")],
      taken: [key("b")],
      problems: ["ISTHMUS_RECORD_FOREIGN"],
    },
    {
      name: "refuses a member whose name only begins alike",
      puts: [capacity("west2", "a")],
      deleteKeys: ["west2/gateway"],
      taken: [],
      problems: ["ISTHMUS_RECORD_FOREIGN", "ISTHMUS_RECORD_FOREIGN"],
    },
    {
      name: "refuses to touch the hub's own records",
      puts: [],
      deleteKeys: ["!member/west"],
      taken: [],
      problems: ["ISTHMUS_RECORD_FOREIGN"],
    },
    {
      name: "refuses what would exceed the quota, not what replaces",
      own: [key("a"), key("b")],
      puts: [capacity("west", "a"), capacity("west", "c"), capacity("west", "d")],
      taken: [key("a"), key("c")],
      problems: ["ISTHMUS_RECORD_QUOTA"],
    },
    {
      name: "counts what the same batch deletes as free",
      own: [key("a"), key("b"), key("c")],
      puts: [capacity("west", "d")],
      deleteKeys: [key("a")],
      taken: [key("d")],
      deleted: [key("a")],
      problems: [],
    },
    {
      name: "keeps a record that is deleted and put in one batch",
      own: [key("a")],
      puts: [capacity("west", "a")],
      deleteKeys: [key("a")],
      taken: [key("a")],
      problems: [],
    },
    {
      name: "takes an object for other members, within a quota of its own",
      puts: [policy("a"), policy("b"), capacity("west", "c")],
      taken: [policyKey("a"), key("c")],
      problems: ["ISTHMUS_RECORD_QUOTA"],
    },
    {
      name: "takes one in the place of another that goes",
      puts: [policy("b")],
      deleteKeys: [policyKey("a")],
      own: [policyKey("a")],
      taken: [policyKey("b")],
      deleted: [policyKey("a")],
      problems: [],
    },
    ...[
      { manifest: "x".repeat(32 * 1024 + 1) },
      { members: [] },
      { members: ["*", "east"] },
      { members: ["../east"] },
      { namespace: "shop/../bank" },
      { policyKind: "TCPRoute/../../gateway" },
    ].map((more) => ({
      name: `refuses an object for other members with ${JSON.stringify(more).slice(0, 60)}`,
      puts: [policy("a", more)],
      taken: [],
      problems: ["ISTHMUS_RECORD"],
    })),
    {
      name: "refuses a record of a kind it does not know",
      puts: [{ cluster: "west" } as WireRecord],
      taken: [],
      problems: ["ISTHMUS_RECORD"],
    },
  ];

  it.each(cases)("$name", ({ puts, deleteKeys = [], own = [], taken, deleted = [], problems }) => {
    const decision = decidePublish(west, { puts, deleteKeys }, new Set(own), rules);
    expect([...decision.puts.keys()]).toEqual(taken);
    expect(decision.deleteKeys).toEqual(deleted);
    expect(decision.problems.map(({ code }) => code)).toEqual(problems);
  });

  it("never repeats more than a line of what it refuses", () => {
    const huge = "x".repeat(100_000);
    const { problems } = decidePublish(west, { puts: [capacity("west", huge)], deleteKeys: [huge] }, new Set(), rules);
    expect(problems).toHaveLength(2);
    for (const problem of problems) expect(problem.key.length + problem.message.length).toBeLessThan(500);
  });
});

describe("the end of a full set", () => {
  it("deletes what was held and is not named again", () => {
    expect(staleKeys([key("a"), key("b")], new Set([key("b")]))).toEqual([key("a")]);
  });
});

describe("a stored record", () => {
  const decided = decidePublish(west, { puts: [capacity("west", "a")], deleteKeys: [] }, new Set(), rules);
  const [record] = decided.puts.values();

  it("is read back as it was written", () => {
    const text = encodeRecord(record!);
    expect(decodeRecord(recordKey(record!), text, rules)).toEqual({ ok: true, value: record });
  });

  it.each([
    ["no JSON", "{"],
    ["null", "null"],
    ["a list", "[]"],
    ["an unknown kind", '{"kind":"root","cluster":"west"}'],
    ["a prototype", '{"__proto__":{"kind":"gateway"},"cluster":"west"}'],
    ["missing fields", '{"kind":"capacity","cluster":"west"}'],
    ["another key's record", '{"kind":"gateway","cluster":"west","addresses":[],"region":"","zone":""}'],
  ])("is left out when it is %s", (_, text) => {
    expect(decodeRecord(key("a"), text, rules).ok).toBe(false);
  });
});
