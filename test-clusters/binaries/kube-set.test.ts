import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { corefile } from "../node/addons.ts";
import { kubePrograms, minorOf, objectionTo, type FoundSet } from "./kube-set.ts";
import { COREDNS, ETCD, KUBERNETES } from "./versions.ts";

const oldMachine = { cgroupVersion: 1, containerdMajor: 1 } as const;
const newMachine = { cgroupVersion: 2, containerdMajor: 2 } as const;

function setOf(version: string, changes: Readonly<Record<string, string | undefined>> = {}): FoundSet {
  const versions = { ...Object.fromEntries(kubePrograms.map((name) => [name, version])), etcd: "v3.6.4", ...changes };
  return Object.fromEntries(
    Object.entries(versions).map(([name, each]) => [name, { path: `/usr/bin/${name}`, version: each }]),
  );
}

describe("a set of Kubernetes programs", () => {
  it.each([
    { name: "is used when all are of one release", set: setOf("v1.34.4") },
    { name: "may have a kubelet up to three releases older", set: setOf("v1.34.4", { kubelet: "v1.31.0" }) },
    { name: "may be newer on a new machine", set: setOf("v1.36.0"), machine: newMachine },
  ])("$name", ({ set, machine }) => {
    expect(objectionTo(set, machine ?? oldMachine)).toBeUndefined();
  });

  it.each([
    { name: "a kubelet newer than its API server", set: setOf("v1.33.1", { kubelet: "v1.34.0" }), says: "newer" },
    { name: "a kubelet four releases older", set: setOf("v1.34.4", { kubelet: "v1.30.9" }), says: "too old" },
    {
      name: "a scheduler of another release",
      set: setOf("v1.34.4", { "kube-scheduler": "v1.33.0" }),
      says: "scheduler",
    },
    { name: "a program that tells no version", set: setOf("v1.34.4", { kubelet: undefined }), says: "version" },
    { name: "a kubelet too new for cgroup v1", set: setOf("v1.35.0"), says: "cgroup v1" },
    { name: "nothing found", set: {}, says: "has no etcd, kube-apiserver" },
  ])("is not used with $name", ({ set, says }) => {
    expect(objectionTo(set, oldMachine)).toContain(says);
  });

  it("is told apart by the minor release", () => {
    expect(minorOf("v1.34.4")).toBe(34);
    expect(minorOf("1.9.0-rc.1")).toBe(9);
    expect(minorOf("v3.6.4")).toBeUndefined();
  });
});

describe("CoreDNS as it is built", () => {
  it("has every plugin that a cluster's Corefile names, and no other", () => {
    const program = readFileSync(new URL("coredns/main.go", import.meta.url), "utf8");
    const compiled = [...program.matchAll(/coredns\/plugin\/([a-z]+)"/g)].map(([, name]) => name);
    const named = [...corefile.matchAll(/^ {4}([a-z]+)/gm)].map(([, name]) => name);
    expect(compiled).toEqual([...new Set(named)].sort());
  });
});

describe("the pinned versions", () => {
  it("are those of the module that builds the programs", () => {
    const module = readFileSync(new URL("kube/go.mod", import.meta.url), "utf8");
    expect(module).toContain(`k8s.io/kubernetes ${KUBERNETES}`);
    expect(module).toContain(`go.etcd.io/etcd/server/v3 ${ETCD}`);
    expect(module).toContain(`k8s.io/kubectl => k8s.io/kubectl ${KUBERNETES.replace("v1.", "v0.")}`);
    const dns = readFileSync(new URL("coredns/go.mod", import.meta.url), "utf8");
    expect(dns).toContain(`github.com/coredns/coredns ${COREDNS}`);
  });
});
