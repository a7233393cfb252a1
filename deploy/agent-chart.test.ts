import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { readAgentConfig } from "../agent/config.ts";
import { defaultSidecar } from "../agent/inject/sidecar-settings.ts";
import { bootstrapConfig, envoyArguments } from "../agent/xds/bootstrap.ts";
import type { ClusterName, FleetDomain } from "../shared/ids.ts";
import { checkoutRoot } from "../shared/tooling/pack.ts";
import { grants, type Grant } from "./rbac-table.ts";
import { helmBuildMs, helmPath, lint, render, type Manifest } from "./testing/helm.ts";
import { containersOf, restrictedViolations, workloadsOf } from "./testing/pods.ts";

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

let helm = "";
let chart: readonly Manifest[] = [];
/** With everything that a value switches on. */
let full: readonly Manifest[] = [];

beforeAll(async () => {
  helm = await helmPath();
  chart = await render(helm, "agent");
  full = await render(helm, "agent", { values: { "metrics.prometheusUrl": "http://prometheus.monitoring:9090" } });
}, helmBuildMs);

function only(kind: string, name: string): Manifest {
  const found = chart.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  expect(found, `${kind} ${name}`).toHaveLength(1);
  return found[0]!;
}

/** One line per verb, so that a difference names exactly what is too much or too little. */
function grantLines(
  rows: readonly Pick<Grant, "account" | "scope" | "group" | "resource" | "names" | "verbs">[],
): readonly string[] {
  const lines = rows.flatMap(({ account, scope, group, resource, names, verbs }) =>
    verbs.map((verb) => `${account} ${scope} ${verb} ${resource}.${group} ${names?.join(",") ?? "*"}`),
  );
  return lines.sort();
}

function renderedGrants(): readonly string[] {
  const roles = full.filter(({ kind }) => kind === "ClusterRole" || kind === "Role");
  return grantLines(
    roles.flatMap((role) =>
      (role["rules"] as readonly Rule[]).flatMap((rule) =>
        rule.apiGroups.flatMap((group) =>
          rule.resources.map((resource) => ({
            account: role.metadata.name as Grant["account"],
            scope: role.kind === "ClusterRole" ? ("cluster" as const) : ("system" as const),
            group,
            resource,
            ...(rule.resourceNames && { names: rule.resourceNames }),
            verbs: rule.verbs as Grant["verbs"],
          })),
        ),
      ),
    ),
  );
}

describe("the agent chart", () => {
  test("passes helm's strict lint", async () => {
    expect(await lint(helm, "agent")).toContain("0 chart(s) failed");
  });

  test("goes into the namespace that the agent's identity names, and into no other", async () => {
    await expect(render(helm, "agent", { namespace: "elsewhere" })).rejects.toThrow(/--namespace isthmus-system/);
    const namespaces = chart.map(({ metadata }) => metadata.namespace).filter((namespace) => namespace !== undefined);
    expect(new Set(namespaces)).toEqual(new Set(["isthmus-system"]));
  });

  test.each([
    ["a misspelt value", { "agent.replica": 3 }, /replica/],
    ["a log level that does not exist", { "agent.logLevel": "loud" }, /logLevel/],
    ["a token that is none", { "join.token": "secret" }, /token/],
    ["a certificate lifetime of a week", { "agent.svidTtlSeconds": 604_800 }, /svidTtlSeconds/],
  ])("refuses %s", async (_name, values, message) => {
    await expect(render(helm, "agent", { values })).rejects.toThrow(message);
  });

  test("configures the agent by variables that the agent reads, and by values it accepts", () => {
    const agent = workloadsOf(chart).find(({ title }) => title === "Deployment isthmus-agent");
    const env = (agent?.spec.containers[0]?.env ?? []).map(
      ({ name, value }) => [name, value ?? "from-the-pod"] as const,
    );
    const source = readFileSync(join(checkoutRoot, "agent", "config.ts"), "utf8");
    expect(env.map(([name]) => name).filter((name) => !source.includes(`"${name}"`))).toEqual([]);
    const config = readAgentConfig(Object.fromEntries(env));
    expect(config).toMatchObject({ ok: true, value: { envoyImage: "isthmus.dev/envoy:0.1.0", svidTtlMs: 3_600_000 } });
    expect(config).toMatchObject({ value: { sidecar: defaultSidecar } });
  });

  test("starts the gateway's Envoy with the arguments that the translation counts on", () => {
    const gateway = workloadsOf(chart).find(({ title }) => title === "Deployment isthmus-gateway");
    const args = gateway?.spec.containers[0]?.args ?? [];
    expect(args).toEqual([
      ...["--config-path", "/etc/isthmus/envoy.json"],
      ...envoyArguments("gateway~$(POD_NAME).$(POD_NAMESPACE)", "isthmus-gateway", 2),
      "--config-yaml",
      expect.stringContaining("overload_manager"),
    ]);
  });

  test("sheds a gateway's load before its memory limit exactly as a sidecar's, and says where it is", async () => {
    const overlay = (manifests: readonly Manifest[]) => {
      const gateway = workloadsOf(manifests).find(({ title }) => title === "Deployment isthmus-gateway");
      const args = gateway?.spec.containers[0]?.args ?? [];
      const at = args.indexOf("--config-yaml");
      return at < 0 ? undefined : (JSON.parse(args[at + 1] ?? "") as Overlay);
    };
    interface Overlay {
      readonly node?: unknown;
      readonly overload_manager: { readonly resource_monitors: readonly { readonly typed_config: object }[] };
    }
    const { overload_manager: limits } = bootstrapConfig({
      ...{ kind: "gateway", cluster: "east" as ClusterName, fleetDomain: "acme.mesh" as FleetDomain },
      agent: { host: "agent", port: 15128 },
      ...{ trustDir: "/t", tokenDir: "/t", configDir: "/c", probes: [], maxHeapBytes: 402_653_184 },
    }) as unknown as Overlay;
    const [, heap] = limits.resource_monitors;
    const given = overlay(chart);
    const [monitor] = given?.overload_manager.resource_monitors ?? [];
    // 64-bit numbers are strings in protobuf's JSON
    expect(monitor).toEqual({
      ...heap,
      typed_config: { ...heap?.typed_config, max_heap_size_bytes: "402653184" },
    });
    expect(given?.overload_manager).toEqual({ ...limits, resource_monitors: [monitor] });
    expect(given).not.toHaveProperty("node");
    const placed = overlay(await render(helm, "agent", { values: { "cluster.region": "eu", "cluster.zone": "a" } }));
    expect(placed?.node).toEqual({ locality: { region: "eu", zone: "a" } });
    expect(overlay(await render(helm, "agent", { values: { "gateway.maxHeapBytes": 0 } }))).toBeUndefined();
  });
});

describe("TrafficMetrics", () => {
  test("are an APIService of the agent's where a Prometheus is named", () => {
    const service = full.find(({ kind }) => kind === "APIService");
    expect(service?.["spec"]).toMatchObject({
      ...{ group: "metrics.smi-spec.io", version: "v1alpha1" },
      service: { namespace: "isthmus-system", name: "isthmus-agent", port: 9444 },
    });
    const aggregation = full.find(({ metadata }) => metadata.namespace === "kube-system");
    expect(aggregation).toMatchObject({
      kind: "RoleBinding",
      roleRef: { kind: "Role", name: "extension-apiserver-authentication-reader" },
      subjects: [{ kind: "ServiceAccount", name: "isthmus-agent", namespace: "isthmus-system" }],
    });
    expect(JSON.stringify(full)).not.toContain("system:auth-delegator");
  });

  test("leave nothing in the chart where none is", () => {
    expect(JSON.stringify(chart)).not.toMatch(/apiregistration|aggregation|9444|"deployments"/);
  });

  test("refuse what is no URL", async () => {
    const values = { "metrics.prometheusUrl": "prometheus:9090" };
    await expect(render(helm, "agent", { values })).rejects.toThrow(/prometheusUrl/);
  });
});

describe("permissions", () => {
  test("are those of the table, no more and no fewer", () => {
    expect(renderedGrants()).toEqual(grantLines(grants));
  });

  test("never use a wildcard", () => {
    const rules = full.filter(({ kind }) => kind.endsWith("Role")).flatMap((role) => role["rules"] as readonly Rule[]);
    expect(JSON.stringify(rules)).not.toContain('"*"');
  });

  test("let no account list Secrets, nor read one by a name that is not its own", () => {
    const secrets = grants.filter(({ resource }) => resource.startsWith("secrets"));
    expect(secrets.filter(({ scope }) => scope === "cluster")).toEqual([]);
    const unnamed = secrets.filter(({ names }) => names === undefined).flatMap(({ verbs }) => verbs);
    expect(unnamed).toEqual(["create"]);
    expect(secrets.flatMap(({ verbs }) => verbs).filter((verb) => ["list", "watch", "delete"].includes(verb))).toEqual(
      [],
    );
  });

  test.each(grants.map((grant) => [`${grant.verbs.join("+")} ${grant.resource}`, grant.usedBy]))(
    "%s is used by a file that exists: %s",
    (_grant, usedBy) => {
      expect(existsSync(join(checkoutRoot, usedBy))).toBe(true);
    },
  );
});

describe("pods", () => {
  test("meet the restricted Pod Security Standard with a read-only root", () => {
    expect(workloadsOf(chart).flatMap(restrictedViolations)).toEqual([]);
  });

  test("say what they need and where they stop", () => {
    const incomplete = workloadsOf(chart)
      .flatMap(({ spec }) => containersOf(spec))
      .filter(
        ({ resources }) =>
          !resources?.requests?.["cpu"] || !resources.requests["memory"] || !resources.limits?.["memory"],
      );
    expect(incomplete.map(({ name }) => name)).toEqual([]);
  });

  test("are probed, disrupted one at a time and shielded by a NetworkPolicy", () => {
    for (const { title, labels, spec } of workloadsOf(chart)) {
      expect(
        spec.containers.every(({ readinessProbe, livenessProbe }) => readinessProbe && livenessProbe),
        title,
      ).toBe(true);
      const name = labels["app.kubernetes.io/name"] ?? "";
      expect(only("PodDisruptionBudget", name)["spec"]).toMatchObject({ maxUnavailable: 1 });
      expect(only("NetworkPolicy", name)["spec"]).toMatchObject({
        podSelector: { matchLabels: { "app.kubernetes.io/name": name } },
      });
    }
  });

  test("are reached by Services whose target ports they have", () => {
    for (const service of chart.filter(({ kind }) => kind === "Service")) {
      const { selector, ports } = service["spec"] as {
        selector: Record<string, string>;
        ports: readonly { targetPort: string }[];
      };
      const workload = workloadsOf(chart).find(({ labels }) =>
        Object.entries(selector).every(([k, v]) => labels[k] === v),
      );
      const names = workload?.spec.containers.flatMap((container) => container.ports ?? []).map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(ports.map(({ targetPort }) => targetPort)));
    }
  });

  test("of the gateway have no token for the API server", () => {
    const gateway = workloadsOf(chart).find(({ title }) => title === "Deployment isthmus-gateway");
    const paths = containersOf(gateway!.spec).flatMap(({ volumeMounts = [] }) =>
      volumeMounts.map(({ mountPath }) => mountPath),
    );
    expect(paths).not.toContain("/var/run/secrets/kubernetes.io/serviceaccount");
    expect(gateway!.spec).toMatchObject({ automountServiceAccountToken: false });
  });
});

describe("images", () => {
  const images = (manifests: readonly Manifest[]) => {
    const specs = workloadsOf(manifests).flatMap(({ spec }) => containersOf(spec));
    const injected = specs.flatMap(({ env }) => env ?? []).filter(({ name }) => name.endsWith("_IMAGE"));
    return [...specs.map(({ image }) => image), ...injected.map(({ value }) => value ?? "")];
  };

  test("all come from one registry that one value changes", async () => {
    const values = { "image.registry": "mirror.example/mesh", "image.tag": "v9" };
    const found = images(await render(helm, "agent", { values }));
    expect(found.filter((image) => !image.startsWith("mirror.example/mesh/") || !image.endsWith(":v9"))).toEqual([]);
    expect(new Set(found)).toEqual(
      new Set(["isthmus", "envoy", "init"].map((name) => `mirror.example/mesh/${name}:v9`)),
    );
  });

  test("can each be replaced whole, by digest too", async () => {
    const digest = `own.example/e@sha256:${"0".repeat(64)}`;
    const values = {
      "images.envoy.reference": digest,
      "images.init.tag": "v2",
      "images.isthmus.registry": "r.example",
    };
    expect(new Set(images(await render(helm, "agent", { values })))).toEqual(
      new Set(["r.example/isthmus:0.1.0", digest, "isthmus.dev/init:v2"]),
    );
  });
});

describe("the injection webhook", () => {
  interface Webhook {
    readonly failurePolicy: string;
    readonly timeoutSeconds: number;
    readonly clientConfig: { readonly caBundle?: string; readonly service: { readonly path: string } };
    readonly namespaceSelector: { readonly matchExpressions: readonly Expression[] };
    readonly objectSelector: { readonly matchExpressions: readonly Expression[] };
  }
  interface Expression {
    readonly key: string;
    readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
    readonly values?: readonly string[];
  }
  const webhooks = () => only("MutatingWebhookConfiguration", "isthmus-agent")["webhooks"] as readonly Webhook[];

  const matches = (expressions: readonly Expression[], labels: Readonly<Record<string, string>>) =>
    expressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === "Exists") return value !== undefined;
      if (operator === "DoesNotExist") return value === undefined;
      return operator === "In"
        ? value !== undefined && values.includes(value)
        : value === undefined || !values.includes(value);
    });

  const asked = (
    namespace: string,
    labels: Readonly<Record<string, string>>,
    pod: Readonly<Record<string, string>> = {},
  ) =>
    webhooks().filter(
      (webhook) =>
        matches(webhook.namespaceSelector.matchExpressions, { "kubernetes.io/metadata.name": namespace, ...labels }) &&
        matches(webhook.objectSelector.matchExpressions, pod),
    ).length;

  const isthmus = { "isthmus.dev/inject": "enabled" };
  const osm = { "openservicemesh.io/monitored-by": "osm" };

  test.each([
    ["a namespace with Isthmus's label", "shop", isthmus, {}, 1],
    ["a namespace with OSM's label", "shop", osm, {}, 1],
    ["a namespace with both labels, once", "shop", { ...isthmus, ...osm }, {}, 1],
    ["a namespace without a label", "shop", {}, {}, 0],
    ["a namespace that opted out", "shop", { "isthmus.dev/inject": "disabled" }, {}, 0],
    ["its own namespace, even labelled", "isthmus-system", { ...isthmus, ...osm }, {}, 0],
    ["kube-system, even labelled", "kube-system", isthmus, {}, 0],
    ["a pod that opted out by label", "shop", isthmus, { "isthmus.dev/sidecar-injection": "disabled" }, 0],
  ])("is asked about pods of %s", (...[, namespace, labels, pod, times]) => {
    expect(asked(namespace, labels, pod)).toBe(times);
  });

  test("fails closed, answers soon, and leaves caBundle to the agent", () => {
    for (const webhook of webhooks()) {
      expect(webhook).toMatchObject({
        failurePolicy: "Fail",
        clientConfig: { service: { path: "/inject", port: 443 } },
      });
      expect(webhook.timeoutSeconds).toBeLessThanOrEqual(5);
      expect(webhook.clientConfig.caBundle).toBeUndefined();
    }
  });
});
