import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { makeCgroup, parseCgroupLayout, processesIn, procsFile, type CgroupLayout } from "./cgroups.ts";

const mounts = (name: string) => readFileSync(new URL(`testdata/mounts-${name}.txt`, import.meta.url), "utf8");

describe("the layout of control groups", () => {
  it.each(["v1", "hybrid", "v2"])("of a %s machine is the golden one", async (name) => {
    const layout = JSON.stringify(parseCgroupLayout(mounts(name)), null, 2);
    await expect(layout).toMatchFileSnapshot(`testdata/layout-${name}.json`);
  });

  it("is none where nothing is mounted, or no pids hierarchy to find processes by", () => {
    expect(parseCgroupLayout("proc /proc proc rw 0 0\n")).toBeUndefined();
    expect(parseCgroupLayout("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n")).toBeUndefined();
  });
});

describe("a run's groups", () => {
  let root = "";
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  /** A folder with the files that a kernel would show; it cannot move processes, but it holds what is written. */
  function fakeV2(): CgroupLayout {
    root = mkdtempSync(join(tmpdir(), "isthmus-cgroup-"));
    for (const dir of ["", "ist-a", "ist-a/east"]) {
      mkdirSync(join(root, dir), { recursive: true });
      writeFileSync(join(root, dir, "cgroup.controllers"), "cpuset cpu io memory pids rdma misc\n");
      writeFileSync(join(root, dir, "cgroup.subtree_control"), "");
    }
    return { version: 2, hierarchies: [root], all: [root], tracking: root };
  }

  it("delegate on version 2 the controllers that the kubelet needs, down to the leaf and not into it", async () => {
    const layout = fakeV2();
    await makeCgroup(layout, "ist-a/east/system", true);
    for (const dir of ["", "ist-a", "ist-a/east"])
      expect(readFileSync(join(root, dir, "cgroup.subtree_control"), "utf8")).toBe("+cpuset +cpu +io +memory +pids");
    expect(existsSync(join(root, "ist-a/east/system"))).toBe(true);
    expect(procsFile(layout, "ist-a/east/system")).toBe(`${root}/ist-a/east/system/cgroup.procs`);
  });

  it("copy the cpuset on version 1, because nothing can run in an empty one", async () => {
    root = mkdtempSync(join(tmpdir(), "isthmus-cgroup-"));
    const cpuset = join(root, "cpuset");
    mkdirSync(join(cpuset, "ist-a"), { recursive: true });
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      writeFileSync(join(cpuset, file), "0-1\n");
      writeFileSync(join(cpuset, "ist-a", file), "\n");
    }
    await makeCgroup({ version: 1, hierarchies: [cpuset], all: [cpuset], tracking: cpuset }, "ist-a", false);
    expect(readFileSync(join(cpuset, "ist-a", "cpuset.cpus"), "utf8")).toBe("0-1\n");
  });

  it("name every process below them", () => {
    const layout = fakeV2();
    writeFileSync(join(root, "ist-a", "cgroup.procs"), "");
    writeFileSync(join(root, "ist-a/east", "cgroup.procs"), "12\n13\n");
    expect(processesIn(layout, "ist-a")).toEqual([12, 13]);
    expect(processesIn(layout, "ist-gone")).toEqual([]);
  });
});
