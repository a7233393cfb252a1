import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { planNetwork } from "../network/addresses.ts";
import { runPaths } from "../run/paths.ts";
import { corefile } from "./addons.ts";
import { auditPolicy, cniConfig, kubeletConfig, proxyConfig } from "./files.ts";
import { kubeconfig } from "./kubeconfig.ts";
import { holderScript } from "./mounts.ts";
import { clusterPlace } from "./place.ts";
import * as programs from "./programs.ts";

const [east] = planNetwork(0, ["east"]).clusters;
const place = clusterPlace(runPaths("dev", "/cache/runs/dev"), east!);

describe("a node's files", () => {
  it.each([
    ["kubelet.yaml", kubeletConfig(place)],
    ["kube-proxy.yaml", proxyConfig(place)],
    ["audit-policy.yaml", auditPolicy],
    ["cni.json", JSON.stringify(JSON.parse(cniConfig(place)), null, 2)],
    ["Corefile", corefile],
  ])("%s is the golden one", async (name, text) => {
    await expect(text).toMatchFileSnapshot(`testdata/${name}`);
  });
});

describe("a node's programs", () => {
  it("have the golden flags", async () => {
    const lines = [
      ["etcd", programs.etcdFlags(place)],
      ["kube-apiserver", programs.apiserverFlags(place)],
      ["kube-controller-manager", programs.controllerManagerFlags(place)],
      ["kube-scheduler", programs.schedulerFlags(place)],
      ["kubelet", programs.kubeletFlags(place)],
      ["kube-proxy", programs.proxyFlags(place)],
    ] as const;
    const text = lines.map(([name, flags]) => [name, ...flags].join("\n  ")).join("\n");
    await expect(`${text}\n`).toMatchFileSnapshot("testdata/programs.txt");
  });
});

describe("a node's mounts", () => {
  it("hide the fixed folders and keep what lies below them visible", async () => {
    const script = holderScript(["/var/cache/isthmus", "/run/isthmus/dev"]);
    await expect(script).toMatchFileSnapshot("testdata/holder.sh");
  });
});

describe("the kubeconfig", () => {
  it("has one context per cluster, named exactly as the cluster", () => {
    const user = { certPem: "cert", keyPem: "key" };
    const text = kubeconfig(
      ["east", "west"].map((cluster) => ({ cluster, server: `https://${cluster}:6443`, caPem: "ca", user })),
    );
    expect(parse(text)).toMatchObject({
      contexts: [
        { name: "east", context: { cluster: "east", user: "east" } },
        { name: "west", context: { cluster: "west", user: "west" } },
      ],
      "current-context": "east",
    });
  });
});
