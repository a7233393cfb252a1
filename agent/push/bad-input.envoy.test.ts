// Bad policy among good: the bad object is refused with its reason, the good ones stay as they are or come into force on a real
// Envoy, and an Envoy that starts now starts.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { buildIr } from "../ir/build.ts";
import type { MeshInputs } from "../ir/inputs.ts";
import { aPod, aService, aSlice, anEndpoint, someInputs } from "../ir/testing/objects.ts";
import type { MeshIr } from "../ir/types.ts";
import { bootstrapConfig } from "../xds/bootstrap.ts";
import type { ProxyTrust } from "../xds/proxy.ts";
import { testFleet } from "../xds/testing/certificates.ts";
import { eventually, findEnvoy, start, type Running } from "../xds/testing/envoy.ts";
import { fedFromFiles, writeResources } from "../xds/testing/file-xds.ts";
import { fleetDomain } from "../xds/testing/mesh-case.ts";
import { defaultSettings, translate } from "../xds/translate.ts";
import { classify } from "./classify.ts";
import { createPolicyReader, goodPolicies, group, poison, target, type RawObject } from "./testing/policy-objects.ts";

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
const folder = mkdtempSync(join(tmpdir(), "isthmus-bad-input-"));
let trust: ProxyTrust;

const mesh = someInputs({
  meshNamespaces: ["shop", "bank"],
  services: [
    aService({ name: "cart", selector: { app: "cart" } }),
    aService({ namespace: "bank", name: "vault", clusterIps: ["10.96.0.11"] }),
  ],
  slices: [
    aSlice({ name: "cart-1", service: "cart", endpoints: [anEndpoint({ address: "10.244.0.5", podName: "cart-1" })] }),
  ],
  pods: [
    aPod({ name: "cart-1", uid: "uid-cart-1", ip: "10.244.0.5", serviceAccount: "cart", labels: { app: "cart" } }),
  ],
});

function inputsOf(read: ReturnType<typeof createPolicyReader>, objects: readonly RawObject[]) {
  const { inputs, problems } = read(objects);
  return { inputs: { ...mesh, ...inputs } satisfies MeshInputs, problems };
}

function resourcesOf(ir: MeshIr) {
  const peer = { kind: "sidecar", namespace: "shop", serviceAccount: "cart", podUid: "uid-cart-1" } as const;
  const gateway = { namespace: "isthmus-system", serviceAccount: "isthmus-gateway" };
  const proxyClass = classify(ir, { ...peer, podName: "cart-1" } as Parameters<typeof classify>[1], gateway);
  if (proxyClass === undefined) throw new Error("cart-1 is no workload of the mesh");
  return translate(ir, proxyClass.proxy, trust, defaultSettings);
}

const GOOD = 499;
const good = goodPolicies(GOOD);

beforeAll(() => {
  const fleet = testFleet(folder, fleetDomain);
  trust = fleet.svid("east", "shop", "cart");
  writeFileSync(join(folder, "roots.pem"), fleet.rootsPem);
  writeFileSync(join(folder, "token"), "token");
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("among 499 good objects", () => {
  test.each(poison)("%s is refused with its reason, and nothing else moves", (_what, objects, code) => {
    const read = createPolicyReader();
    const before = buildIr(inputsOf(read, good).inputs);
    expect(before.ir.grants).toHaveLength(GOOD);
    const { inputs, problems } = inputsOf(read, [...good, ...objects]);
    const after = buildIr(inputs, before.ir);
    expect(after.ir).toBe(before.ir);
    const said = [...problems, ...after.problems];
    expect(said.map((problem) => problem.code)).toContain(code);
    for (const { object, message } of said.filter((problem) => problem.code === code)) {
      expect(object?.name).toMatch(/poison|passwd/);
      expect(message.length).toBeLessThan(1_000);
    }
  });

  it("a good object that turns bad grants nothing, and its neighbours keep their grants", () => {
    const read = createPolicyReader();
    const before = buildIr(inputsOf(read, good).inputs);
    const [first, ...others] = good;
    const bad = {
      ...first,
      metadata: { ...(first?.["metadata"] as object), resourceVersion: "2" },
      spec: { matches: [{}] },
    };
    expect(buildIr(inputsOf(read, [bad, ...others]).inputs, before.ir).ir.grants).toEqual([]);
    const mended = buildIr(inputsOf(read, good).inputs, before.ir);
    expect(mended.ir.grants).toEqual(before.ir.grants);
  });
});

/** Fifty times what it takes. */
const TEN_THOUSAND_MS = 20_000;

test(
  "10,000 route groups and 10,000 targets are read, understood and written for a sidecar in seconds",
  { timeout: 120_000 },
  () => {
    const objects = Array.from({ length: 10_000 }, (_, at) => [
      group(`g${at}`, [{ name: "a", pathRegex: `/p${at}/.*`, methods: ["GET"] }]),
      target(`t${at}`, {
        destination: { kind: "ServiceAccount", name: at < 500 ? "cart" : `other-${at}`, namespace: "shop" },
        sources: [{ kind: "ServiceAccount", name: `client-${at}`, namespace: "shop" }],
        rules: [{ kind: "HTTPRouteGroup", name: `g${at}` }],
      }),
    ]).flat();
    const before = process.threadCpuUsage(); // not the clock: a busy machine may stop this process for a while
    const { ir, problems } = buildIr(inputsOf(createPolicyReader(), objects).inputs);
    const set = resourcesOf(ir);
    const { user, system } = process.threadCpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(TEN_THOUSAND_MS);
    expect([ir.grants.length, problems]).toEqual([10_000, []]);
    expect(JSON.stringify([...set.rds.values()])).not.toContain("client-500");
  },
);

test("names that only differ by where a dot or a dash stands keep policies of their own", () => {
  const names = ["a", "a.b", "a-b", "a.b.c", "a-b.c", "a.b-c", "ab", "a--b"];
  const objects = names.map((name) =>
    target(name, {
      destination: { kind: "ServiceAccount", name: "cart", namespace: "shop" },
      sources: [{ kind: "ServiceAccount", name: `of-${name}`, namespace: "shop" }],
      rules: [{ kind: "HTTPRouteGroup", name: "good" }],
    }),
  );
  const { ir } = buildIr(inputsOf(createPolicyReader(), [...goodPolicies(0), ...objects]).inputs);
  const text = JSON.stringify([...resourcesOf(ir).rds.values()]);
  for (const name of names) expect(text).toContain(`/sa/of-${name}"`);
});

/** Three times what the product allows itself, 5 s. */
const IN_FORCE_MS = 15_000;

const ground = await ownGround();
const [firstPort, freshPort] = [await ground.port(), await ground.port()];

describe.skipIf(envoy === "")("a real Envoy", { timeout: 120_000 }, () => {
  const ports = [firstPort, freshPort] as const;
  let running: Running[] = [];
  afterAll(async () => {
    for (const each of running) await each.stop();
  });

  function startEnvoy(adminPort: number, resources: string): Running {
    const config = join(folder, `bootstrap-${adminPort}.json`);
    const options = {
      kind: "sidecar" as const,
      ...{ cluster: "east" as ClusterName, fleetDomain, probes: [] },
      agent: { host: "isthmus-agent.isthmus-system.svc", port: 15128 },
      ...{ trustDir: folder, tokenDir: folder, configDir: folder, maxHeapBytes: 256 * 1024 * 1024 },
      locality: { region: "", zone: "" },
    } as const;
    writeFileSync(config, JSON.stringify(fedFromFiles(bootstrapConfig(options), resources, adminPort)));
    const names = ["--service-node", "n", "--service-cluster", "c", "--concurrency", "1", "--disable-hot-restart"];
    const started = start([envoy, "-c", config, ...names, "-l", "warning"]);
    running = [...running, started];
    return started;
  }

  async function clientsOf(adminPort: number): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${adminPort}/config_dump`);
    return new Set((await answer.text()).match(/sa\/client-\d+/g)).size;
  }

  it("has the 499 good ones in force beside the poison, and a fresh one starts with them", async () => {
    const resources = join(folder, "resources");
    mkdirSync(resources);
    const write = (ir: MeshIr) =>
      writeResources(resources, resourcesOf(ir), (each) => ({ ...each, bind_to_port: false }));
    const read = createPolicyReader();
    const one = buildIr(inputsOf(read, goodPolicies(1)).inputs);
    write(one.ir);
    const first = startEnvoy(ports[0], resources);
    await eventually(`one client\n${first.log()}`, async () => (await clientsOf(ports[0])) === 1 || undefined, 60_000);
    const started = performance.now();
    const { inputs, problems } = inputsOf(read, [...good, ...allPoison()]);
    write(buildIr(inputs, one.ir).ir);
    await eventually(
      `499 clients\n${first.log()}`,
      async () => (await clientsOf(ports[0])) === GOOD || undefined,
      60_000,
    );
    const tookMs = Math.round(performance.now() - started);
    process.stdout.write(`499 good policies in force ${tookMs} ms after the poison\n`);
    expect(tookMs).toBeLessThan(IN_FORCE_MS);
    expect(problems.length).toBeGreaterThan(0);
    const fresh = startEnvoy(ports[1], resources);
    const live = async () => ((await clientsOf(ports[1])) === GOOD ? true : undefined);
    await eventually(`a fresh Envoy with 499 clients\n${fresh.log()}`, live, 60_000);
    expect(first.log() + fresh.log()).not.toMatch(/\[(error|critical)\]|rejected/);
  });

  /** Each object under a name of its own. */
  function allPoison(): readonly RawObject[] {
    return poison.flatMap(([, objects], at) =>
      objects.map((object) => {
        const metadata = object["metadata"] as { readonly name: string };
        return { ...object, metadata: { ...metadata, name: `${metadata.name}-${at}` } };
      }),
    );
  }
});
