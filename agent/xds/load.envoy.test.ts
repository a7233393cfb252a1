// Every golden case is loaded by a real Envoy: it must take all resources, refuse none and warm everything. The bootstraps too.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { bootstrapConfig, bootstrapFiles, type BootstrapOptions } from "./bootstrap.ts";
import type { ProxyTrust } from "./proxy.ts";
import { testFleet } from "./testing/certificates.ts";
import { eventually, findEnvoy, start } from "./testing/envoy.ts";
import { fedFromFiles, writeResources } from "./testing/file-xds.ts";
import { fleetDomain, readCase } from "./testing/mesh-case.ts";
import { translate } from "./translate.ts";

const ADMIN_PORT = await (await ownGround()).port();
const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
const testdata = join(import.meta.dirname, "testdata");
const cases = readdirSync(testdata, { withFileTypes: true }).filter((entry) => entry.isDirectory());

const dir = mkdtempSync(join(tmpdir(), "isthmus-load-"));
let trust: ProxyTrust;

function options(kind: "sidecar" | "gateway"): BootstrapOptions {
  const probes = [
    { port: 15901, check: "forward" as const, targetPort: 8080 },
    { port: 15902, check: "connect" as const, targetPort: 8080 },
  ];
  const agent = { host: "isthmus-agent.isthmus-system.svc", port: 15128 };
  const folders = { trustDir: dir, tokenDir: dir, configDir: dir };
  const limits = { maxHeapBytes: 256 * 1024 * 1024, locality: { region: "eu", zone: "eu-1" } };
  return {
    kind,
    cluster: "east" as ClusterName,
    fleetDomain,
    agent,
    ...folders,
    ...limits,
    probes: kind === "sidecar" ? probes : [],
  };
}

async function admin(path: string): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${ADMIN_PORT}${path}`);
  return answer.text();
}

async function stats(): Promise<ReadonlyMap<string, number>> {
  const lines = (await admin("/stats")).split("\n").map((line) => line.split(": "));
  return new Map(lines.map(([name = "", value = ""]) => [name, Number(value)]));
}

beforeAll(() => {
  const fleet = testFleet(dir, fleetDomain);
  trust = fleet.svid("east", "shop", "front");
  writeFileSync(join(dir, "roots.pem"), fleet.rootsPem);
  writeFileSync(join(dir, "token"), "token");
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.skipIf(envoy === "")("a real Envoy", () => {
  it.each([
    ["sidecar", "sidecar", {}],
    ["gateway", "gateway", {}],
    ["bound sidecar", "sidecar", { bound: { adminSocketPath: join(dir, "admin.sock") } }],
  ] as const)("accepts the bootstrap of a %s", (_what, kind, bound) => {
    writeFileSync(join(dir, "bootstrap.json"), JSON.stringify(bootstrapConfig({ ...options(kind), ...bound })));
    for (const [file, content] of Object.entries(bootstrapFiles(options(kind))))
      writeFileSync(join(dir, file), JSON.stringify(content));
    const said = execFileSync(
      envoy,
      ["--mode", "validate", "-c", join(dir, "bootstrap.json"), "--service-node", "n", "--service-cluster", "c"],
      {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    expect(said).toContain("OK");
  });

  it.each(cases.map((entry) => entry.name))("takes every resource of %s", async (name) => {
    const { ir, proxy, settings } = readCase(readFileSync(join(testdata, name, "in.yaml"), "utf8"));
    // the roots of other fleets are words in the golden files; an Envoy wants certificates
    const foreignFleets = ir.foreignFleets?.map((fleet) => ({ ...fleet, rootsPem: trust.rootsPem }));
    const loadable = foreignFleets === undefined ? ir : { ...ir, foreignFleets };
    const set = translate(loadable, proxy, trust, settings);
    const folder = join(dir, name);
    mkdirSync(folder);
    writeResources(folder, set, (listener) => ({ ...listener, bind_to_port: false }));
    const bootstrap = fedFromFiles(bootstrapConfig(options(proxy.kind)), folder, ADMIN_PORT);
    writeFileSync(join(folder, "bootstrap.json"), JSON.stringify(bootstrap));
    const running = start([
      envoy,
      "-c",
      join(folder, "bootstrap.json"),
      "--service-node",
      "n",
      "--service-cluster",
      "c",
      "--concurrency",
      "1",
      "--disable-hot-restart",
      "-l",
      "warning",
    ]);
    try {
      const counted = await eventually(`Envoy is live\n${running.log()}`, async () => {
        // not the gauge `server.state`: it says 0, which is live, until the first flush
        if (!(await admin("/ready")).startsWith("LIVE")) return undefined;
        const current = await stats();
        return current.get("listener_manager.total_listeners_warming") === 0 ? current : undefined;
      });
      const refused = [...counted].filter(
        ([stat, count]) => /update_rejected|update_failure|init_fetch_timeout/.test(stat) && count > 0,
      );
      expect(refused, running.log()).toEqual([]);
      expect(counted.get("listener_manager.total_listeners_active"), running.log()).toBe(set.lds.size);
      expect(counted.get("cluster_manager.active_clusters")).toBe(set.cds.size);
      expect(counted.get("cluster_manager.warming_clusters")).toBe(0);
      expect(running.log()).not.toMatch(/\[(error|critical)\]|[Dd]eprecated/);
    } finally {
      await running.stop();
    }
  });
});
