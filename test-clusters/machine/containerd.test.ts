import { describe, expect, it } from "vitest";
import { containerdConfig, importerConfig, objectionToContainerd, parseContainerdVersion } from "./containerd.ts";

const settings = {
  root: "/cache/runs/dev/east/containerd",
  state: "/run/isthmus/dev/east/containerd",
  socket: "/run/isthmus/dev/east/containerd.sock",
  sandboxImage: "localhost/isthmus/pause:1",
  cniBinDir: "/usr/lib/cni",
  cniConfDir: "/cache/runs/dev/east/cni/net.d",
};

describe("containerd's version", () => {
  it.each([
    ["containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", { major: 1, minor: 6 }],
    ["containerd github.com/containerd/containerd 1.7.24 v1.7.24", { major: 1, minor: 7 }],
    ["containerd containerd.io v1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da", { major: 1, minor: 7 }],
    ["containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4", { major: 2, minor: 1 }],
    ["containerd github.com/containerd/containerd/v2 2.0.0+unknown ", { major: 2, minor: 0 }],
  ])("is read from %j", (answer, version) => {
    expect(parseContainerdVersion(answer)).toEqual(version);
  });

  it("is refused before 1.6", () => {
    expect(objectionToContainerd({ major: 1, minor: 5 })).toContain("too old");
    expect(objectionToContainerd({ major: 1, minor: 6 })).toBeUndefined();
    expect(objectionToContainerd({ major: 2, minor: 2 })).toBeUndefined();
  });
});

describe("containerd's configuration", () => {
  it.each([
    ["1.6", { major: 1, minor: 6 }],
    ["1.7", { major: 1, minor: 7 }],
    ["2.0", { major: 2, minor: 0 }],
    ["2.1", { major: 2, minor: 1 }],
  ])("for %s is the golden one", async (name, version) => {
    await expect(containerdConfig(version, settings)).toMatchFileSnapshot(`testdata/containerd-${name}.toml`);
  });

  it.each([
    ["1.6", { major: 1, minor: 6 }],
    ["2.0", { major: 2, minor: 0 }],
  ])("of the importer for %s is the golden one", async (name, version) => {
    await expect(importerConfig(version, settings)).toMatchFileSnapshot(`testdata/importer-${name}.toml`);
  });
});
