import { describe, expect, it } from "vitest";
import { checkClusterNames, checkRunId } from "./paths.ts";
import { isAbandoned, type RunRecord } from "./record.ts";
import { mountsBelow } from "./sweep.ts";

describe("names", () => {
  it.each(["dev", "e2e-1a2b", "a", "abcdefghijk"])("%j names a run", (name) => {
    expect(checkRunId(name)).toBe(name);
  });

  it.each(["", "Dev", "-a", "a-", "abcdefghijkl", "a.b", "../x", "1a"])("%j names no run", (name) => {
    expect(() => checkRunId(name)).toThrow("is no run name");
  });

  it.each([
    [["east", "west"], undefined],
    [["east", "east"], "named twice"],
    [["hub"], "is no cluster name"],
    [["East"], "is no cluster name"],
    [[], "no cluster is named"],
  ])("clusters %j: %s", (names, complaint) => {
    if (complaint === undefined) expect(checkClusterNames(names)).toEqual(names);
    else expect(() => checkClusterNames(names)).toThrow(complaint);
  });
});

describe("a run", () => {
  const owner = { pid: 7, startTicks: 100 };
  const record: RunRecord = {
    runId: "dev",
    home: "/cache/runs/dev",
    subnet: "198.18.0.0/20",
    clusters: ["east"],
    bootId: "now",
    startedAtMs: 0,
    owner,
  };
  const alive = () => true;
  const dead = () => false;

  it.each([
    { name: "whose owner lives is not abandoned", record, probe: alive, abandoned: false },
    { name: "whose owner has ended is", record, probe: dead, abandoned: true },
    { name: "that was handed over needs no owner", record: { ...record, owner: null }, probe: dead, abandoned: false },
    {
      name: "from before the boot is, whatever it says",
      record: { ...record, bootId: "before" },
      probe: alive,
      abandoned: true,
    },
  ])("$name", ({ record: given, probe, abandoned }) => {
    expect(isAbandoned(given, "now", probe)).toBe(abandoned);
  });
});

describe("mounts of a run", () => {
  it("are found deepest first, with spaces unescaped, and not those of a run with a longer name", () => {
    const line = (point: string) => `36 35 0:4 net:[4026532000] ${point} rw shared:5 - nsfs nsfs rw`;
    const mountinfo = [
      "/run/isthmus/dev/net/east",
      "/run/isthmus/dev",
      "/run/isthmus/dev2/net/x",
      "/run/isthmus/dev/a\\040b",
    ]
      .map(line)
      .join("\n");
    expect(mountsBelow(mountinfo, "/run/isthmus/dev")).toEqual([
      "/run/isthmus/dev/net/east",
      "/run/isthmus/dev/a b",
      "/run/isthmus/dev",
    ]);
  });
});
