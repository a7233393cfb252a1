import { describe, expect, it } from "vitest";
import { statusText, type Status } from "./status.ts";

const status: Status = {
  machine: ["linux x64", "cgroup v1"],
  objections: [],
  missingPackages: [],
  cache: "/var/cache/isthmus",
  programs: [
    { name: "kubernetes", version: "v1.34.4", source: "cache (built from Go modules)" },
    { name: "go", version: "1.26.8", source: "/usr/bin/go" },
  ],
  runs: [],
  kindRuns: [],
};

describe("the status", () => {
  it("tells source and version of every program, in columns", () => {
    expect(statusText(status)).toContain("  kubernetes  v1.34.4  cache (built from Go modules)");
    expect(statusText(status)).toContain("  go          1.26.8   /usr/bin/go");
    expect(statusText(status)).toContain("runs: none");
  });

  it("tells why clusters cannot be hosted, what is missing, and which programs of a run are dead", () => {
    const text = statusText({
      ...status,
      objections: ["test clusters need root"],
      missingPackages: ["runc"],
      runs: [
        {
          name: "dev",
          state: "up",
          clusters: ["east"],
          subnet: "198.18.0.0/20",
          kubeconfig: "/k",
          memoryMb: 400,
          dead: ["east/etcd"],
        },
      ],
    });
    expect(text).toContain("cannot host clusters: test clusters need root");
    expect(text).toContain("system packages missing (up asks, or --yes): runc");
    expect(text).toContain("not running: east/etcd");
  });
});
