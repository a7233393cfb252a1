import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import type { Problem, Result } from "../../shared/result.ts";
import { bootstrapConfig } from "../xds/bootstrap.ts";
import { decideInjection, type Injection, type NamespaceFacts } from "./decide.ts";
import { parsePodToInject } from "./pod.ts";
import { paths } from "./settings.ts";
import { applyPatch } from "./testing/json-patch.ts";
import { someSettings } from "./testing/settings.ts";

const shop: NamespaceFacts = { name: "shop", meshed: true, annotations: {} };

interface Pod {
  metadata: { name?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: Record<string, unknown>;
}

function aPod(metadata: Pod["metadata"] = {}, spec: Record<string, unknown> = {}): Pod {
  return { metadata, spec: { containers: [{ name: "app", image: "app:1" }], ...spec } };
}

function decide(pod: unknown, namespace: NamespaceFacts = shop): Result<Injection> {
  const facts = parsePodToInject(pod);
  return facts.ok ? decideInjection(facts.value, namespace, someSettings()) : facts;
}

function patched(pod: unknown, namespace: NamespaceFacts = shop): unknown {
  const decided = decide(pod, namespace);
  if (!decided.ok) throw new Error(JSON.stringify(decided.error));
  return applyPatch(pod, decided.value.patch);
}

/** The bootstrap is a long text with goldens of its own (agent/xds): here its listeners and their targets are enough. */
function shortened(pod: unknown): unknown {
  return JSON.parse(JSON.stringify(pod), (_, value: unknown) => {
    const entry = value as { name?: unknown; value?: unknown } | null;
    if (typeof entry !== "object" || entry?.name !== "ISTHMUS_BOOTSTRAP") return value;
    const { static_resources } = JSON.parse(entry.value as string) as {
      static_resources: { listeners: { name: string }[]; clusters: { name: string; load_assignment: unknown }[] };
    };
    const port = (cluster: unknown) => /"port_value":([0-9]+)/.exec(JSON.stringify(cluster))?.[1];
    return {
      name: entry.name,
      listeners: static_resources.listeners.map((listener) => listener.name).join(" "),
      clusters: static_resources.clusters.map((cluster) => `${cluster.name} -> ${port(cluster) ?? ""}`).join(", "),
    };
  });
}

const testdata = join(import.meta.dirname, "testdata");

test.each(readdirSync(testdata))("golden: %s", (name) => {
  const pod: unknown = parse(readFileSync(join(testdata, name, "pod.yaml"), "utf8"));
  const text = stringify(shortened(patched(pod)), { lineWidth: 140 });
  const file = join(testdata, name, "patched.yaml");
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, text);
  expect(text).toBe(readFileSync(file, "utf8"));
});

test("asked again about what it injected, it changes nothing", () => {
  for (const name of readdirSync(testdata)) {
    const pod = patched(parse(readFileSync(join(testdata, name, "pod.yaml"), "utf8")));
    expect(decide(pod), name).toEqual({ ok: true, value: { inject: false, reason: "already-injected", patch: [] } });
  }
});

test("containers that another webhook adds after us are taken in when we are asked again", () => {
  const first = parse(readFileSync(join(testdata, "probes-and-hooks", "pod.yaml"), "utf8")) as Pod;
  const injected = patched(first) as { spec: { containers: unknown[]; initContainers: unknown[] } };
  injected.spec.initContainers.unshift({ name: "vault-init", image: "vault:1" });
  injected.spec.containers.unshift({
    name: "vault",
    image: "vault:1",
    livenessProbe: { httpGet: { path: "/health", port: 8200 } },
    readinessProbe: { tcpSocket: { port: 8200 } },
    lifecycle: { preStop: { httpGet: { path: "/end", port: 8200 } } },
  });
  const again = patched(injected) as typeof injected & Pod;
  const names = again.spec.initContainers.map((container) => (container as { name: string }).name);
  expect(names).toEqual(["vault-init", "isthmus-init", "isthmus-proxy"]);
  const annotation = again.metadata.annotations?.["isthmus.dev/probes"] ?? "";
  expect(annotation.split(",").filter((entry) => entry.endsWith(":8200"))).toHaveLength(2);
  // what was rewritten before is as it was
  expect(annotation.split(",")).toEqual(expect.arrayContaining(["15901=forward:8080", "15905=forward:9000"]));
  expect(again.spec.containers.slice(1)).toEqual(injected.spec.containers.slice(1));
  const rules = JSON.stringify(again.spec.initContainers[1]);
  for (const entry of annotation.split(",")) expect(rules).toContain(entry.slice(0, 5));
  expect(JSON.stringify(again.spec.containers[0])).not.toContain(":8200");
  expect(decide(again)).toEqual({ ok: true, value: { inject: false, reason: "already-injected", patch: [] } });
});

test("the container's command line, as the kubelet expands it, gives Envoy the whole bootstrap", () => {
  const settings = someSettings({ agent: { host: "agent$(POD_NAME)$$.example", port: 15128 } });
  const facts = parsePodToInject(aPod());
  const decided = facts.ok ? decideInjection(facts.value, shop, settings) : facts;
  if (!decided.ok) throw new Error("not injected");
  const { spec } = applyPatch(aPod(), decided.value.patch) as {
    spec: { initContainers: { name: string; args: string[]; env?: { name: string; value?: string }[] }[] };
  };
  const proxy = spec.initContainers[1];
  const known: Record<string, string> = { POD_NAME: "cart-1", POD_NAMESPACE: "shop", SERVICE_ACCOUNT: "cart" };
  // k8s.io/kubernetes/third_party/forked/golang/expansion: `$$` is `$`, `$(NAME)` a known name, all else stays
  const expand = (text: string) =>
    text.replace(/\$(\$|\(([^)]*)\))/g, (whole, dollar: string, name: string | undefined) =>
      dollar === "$" ? "$" : (known[name ?? ""] ?? whole),
    );
  known["ISTHMUS_BOOTSTRAP"] = expand(proxy?.env?.find(({ name }) => name === "ISTHMUS_BOOTSTRAP")?.value ?? "");
  const args = proxy?.args.map(expand) ?? [];
  expect(args[args.indexOf("--service-node") + 1]).toBe("sidecar~cart-1.shop");
  const wanted = bootstrapConfig({
    kind: "sidecar",
    cluster: settings.cluster,
    fleetDomain: settings.fleetDomain,
    agent: settings.agent,
    trustDir: paths.trust,
    tokenDir: paths.token,
    configDir: paths.config,
    probes: [],
    maxHeapBytes: settings.proxyMemoryLimitBytes,
  });
  expect(JSON.parse(args[args.indexOf("--config-yaml") + 1] ?? "")).toEqual(wanted);
});

describe("who is injected", () => {
  const osm = "openservicemesh.io/sidecar-injection";
  const ours = "isthmus.dev/sidecar-injection";
  const rows: readonly [string, Pod, Partial<NamespaceFacts>, string][] = [
    ["a pod of an opted-in namespace", aPod(), {}, "injected"],
    ["a pod of another namespace is not", aPod(), { meshed: false }, "namespace-not-meshed"],
    ["not even when it asks", aPod({ annotations: { [ours]: "enabled" } }), { meshed: false }, "namespace-not-meshed"],
    ["a pod that says no", aPod({ annotations: { [osm]: "disabled" } }), {}, "disabled"],
    ["in other words too", aPod({ annotations: { [osm]: " No " } }), {}, "disabled"],
    ["a namespace that says no", aPod(), { annotations: { [osm]: "disabled" } }, "disabled"],
    [
      "unless the pod says yes",
      aPod({ annotations: { [ours]: "true" } }),
      { annotations: { [osm]: "false" } },
      "injected",
    ],
    ["our annotation wins over OSM's", aPod({ annotations: { [ours]: "yes", [osm]: "no" } }), {}, "injected"],
    ["a pod on the host's network", aPod({}, { hostNetwork: true }), {}, "host-network"],
    ["a Windows pod", aPod({}, { os: { name: "windows" } }), {}, "windows"],
    ["a pod of the system namespace", aPod(), { name: "isthmus-system" }, "system-namespace"],
    ["a pod of kube-system", aPod(), { name: "kube-system" }, "system-namespace"],
  ];
  test.each(rows)("%s", (_, pod, namespace, wanted) => {
    const decided = decide(pod, { ...shop, ...namespace });
    if (!decided.ok) throw new Error(JSON.stringify(decided.error));
    expect(decided.value.inject ? "injected" : decided.value.reason).toBe(wanted);
  });
});

test("a pod that is not injected loses a label that says it is", () => {
  const pod = aPod({ labels: { "isthmus.dev/injected": "true", app: "x" } }, { hostNetwork: true });
  expect(patched(pod)).toMatchObject({ metadata: { labels: { app: "x" } } });
  expect(JSON.stringify(patched(pod))).not.toContain("isthmus.dev/injected");
});

describe("what cannot work beside the sidecar is refused with its reason", () => {
  const rows: readonly [string, Pod, string, string][] = [
    [
      "a container that runs as Envoy's user",
      aPod({}, { containers: [{ name: "app", securityContext: { runAsUser: 1337 } }] }),
      "ISTHMUS_USER_RESERVED",
      "spec.containers",
    ],
    [
      "a pod that runs as Envoy's user",
      aPod({}, { securityContext: { runAsUser: 1337 } }),
      "ISTHMUS_USER_RESERVED",
      "spec.securityContext",
    ],
    [
      "a port of the sidecar",
      aPod({}, { containers: [{ name: "app", ports: [{ containerPort: 15001 }] }] }),
      "ISTHMUS_PORT_RESERVED",
      "spec.containers",
    ],
    [
      "a container of the sidecar's name",
      aPod({}, { containers: [{ name: "isthmus-proxy" }] }),
      "ISTHMUS_NAME_RESERVED",
      "spec.containers",
    ],
    [
      "a volume of the sidecar's name",
      aPod({}, { volumes: [{ name: "isthmus-trust" }] }),
      "ISTHMUS_NAME_RESERVED",
      "spec.volumes",
    ],
    [
      "a wish that is neither yes nor no",
      aPod({ annotations: { "isthmus.dev/sidecar-injection": "on" } }),
      "ISTHMUS_INJECTION_ANNOTATION",
      "metadata.annotations[isthmus.dev/sidecar-injection]",
    ],
    [
      "an exclusion that is no port",
      aPod({ annotations: { "openservicemesh.io/outbound-port-exclusion-list": "80,http" } }),
      "ISTHMUS_EXCLUSION_LIST",
      "metadata.annotations[openservicemesh.io/outbound-port-exclusion-list]",
    ],
    [
      "an exclusion that is no range",
      aPod({ annotations: { "isthmus.dev/outbound-ip-range-exclusion-list": "10.0.0.0/8 accept" } }),
      "ISTHMUS_EXCLUSION_LIST",
      "metadata.annotations[isthmus.dev/outbound-ip-range-exclusion-list]",
    ],
    ["a pod without containers", { metadata: {}, spec: {} }, "ISTHMUS_OBJECT_FIELD", "spec.containers"],
    [
      "more probes than there are ports",
      aPod(
        {},
        {
          containers: Array.from({ length: 40 }, (_, index) => ({
            name: `c${index}`,
            livenessProbe: { httpGet: { port: 80 } },
          })),
        },
      ),
      "ISTHMUS_PROBE_PORTS",
      "spec.containers",
    ],
  ];
  test.each(rows)("%s", (_, pod, code, field) => {
    const decided = decide(pod);
    const problems: readonly Problem[] = decided.ok ? [] : decided.error;
    expect(problems.map((problem) => [problem.code, problem.field])).toContainEqual([code, field]);
  });
});

test("a namespace that wants OSM's metrics gets its pods scraped, unless they say themselves", () => {
  const namespace = { ...shop, annotations: { "openservicemesh.io/metrics": "enabled" } };
  expect(patched(aPod(), namespace)).toMatchObject({
    metadata: {
      annotations: {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "15010",
        "prometheus.io/path": "/stats/prometheus",
      },
    },
  });
  const own = aPod({ annotations: { "prometheus.io/scrape": "true", "prometheus.io/port": "9102" } });
  expect(patched(own, namespace)).toMatchObject({ metadata: { annotations: { "prometheus.io/port": "9102" } } });
});
