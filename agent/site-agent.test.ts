// A site's agent with a real hub (TLS, Redis, gRPC on loopback): it joins by its token, publishes what its manifests export,
// takes the imports of the others, and says what it has not understood.
import { once } from "node:events";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { joinAgent, makeDataDir, publish, startTestHub, watch, type TestHub } from "../hub/testing/hub.ts";
import { capturedLog, type CapturedLog } from "../hub/testing/redis.ts";
import { systemClock } from "../shared/clock.ts";
import { toWire } from "../shared/grpc/record-wire.ts";
import { formatJoinToken, parseJoinToken } from "../shared/join-token.ts";
import type { RegistryRecord } from "../shared/registry.ts";
import { eventually } from "./hub/testing/eventually.ts";
import { credentialFile, gatewayFolder, readCredentialFolder, workloadFolder } from "./site/credential-folder.ts";
import type { SiteConfig } from "./site/site-config.ts";
import { exportManifest, makeSiteFolder, workloadManifest, type SiteFolder } from "./site/testing/site-folder.ts";
import { runSite, type SiteReady } from "./site-agent.ts";

interface RunningSite {
  readonly ready: SiteReady;
  readonly log: CapturedLog;
  /** A debug view of the admin surface. */
  view(name: string): Promise<unknown>;
  stop(): Promise<void>;
}

async function startSite(config: SiteConfig): Promise<RunningSite> {
  const ending = new AbortController();
  const started = Promise.withResolvers<SiteReady>();
  const log = capturedLog();
  const deps = { clock: systemClock, random: () => 0.5, log, version: "test", onReady: started.resolve };
  const running = runSite(config, ending.signal, deps);
  const ready = await Promise.race([started.promise, running.then(() => Promise.reject(new Error("the site ended")))]);
  return {
    ready,
    log,
    view: async (name) => (await fetch(`http://127.0.0.1:${config.adminPort}/debug/${name}`)).json(),
    stop: async () => {
      ending.abort(new Error("the test has ended"));
      await running;
    },
  };
}

/** Looks at a debug view until it fits. */
async function viewUntil(site: RunningSite, name: string, fits: (view: string) => boolean): Promise<string> {
  let last = "";
  const deadlineMs = Date.now() + 30_000;
  do last = JSON.stringify(await site.view(name));
  while (!fits(last) && Date.now() < deadlineMs);
  return last;
}

describe("a site's agent and a hub", { timeout: 90_000 }, () => {
  let hub: TestHub;
  let folder: SiteFolder;
  let config: SiteConfig;
  let site: RunningSite | undefined;
  let importAddress: string | undefined;
  const addressOfStock = (ir: string) => /"name":"stock"[^}]*"vips":\["([^"]+)"/.exec(ir)?.[1];
  const running = () => {
    if (site === undefined) throw new Error("the site did not start");
    return site;
  };

  beforeAll(async () => {
    hub = await startTestHub({ data: await makeDataDir(), allowLoopback: true });
    folder = await makeSiteFolder();
    const token = parseJoinToken(await hub.tokenFor("east"));
    if (!token.ok) throw new Error(JSON.stringify(token.error));
    const tokenFile = join(folder.top, "token");
    await writeFile(tokenFile, formatJoinToken({ ...token.value, hub: hub.address }));
    await folder.write("cart.yaml", `${workloadManifest("cart")}---\n${exportManifest("cart")}`);
    config = await folder.config({ tokenFile });
    site = await startSite(config);
  }, 90_000);

  afterAll(async () => {
    await site?.stop();
    await folder.remove();
  });

  it("is a member that publishes the Service that its workload makes up", async () => {
    expect(running().ready).toMatchObject({ cluster: "east", fleetDomain: "acme.mesh", hub: hub.address });
    const west = await joinAgent(hub, "west");
    const events = watch(west);
    const seen = await events.nextUntil(
      (event) => event.event === "change" && event.change.op === "put" && event.change.put.kind === "capacity",
    );
    events.cancel();
    const records = seen.flatMap((event) =>
      event.event === "change" && event.change.op === "put" ? [event.change.put] : [],
    );
    expect(records).toMatchObject([
      { cluster: "east", kind: "gateway", gateway: { addresses: [{ host: "127.0.0.1", port: 15443 }] } },
      { kind: "service", service: { namespace: "shop", name: "cart", serviceAccounts: ["cart"] } },
      { kind: "capacity", capacity: { name: "cart", ports: [{ port: 8080, ready: 1, total: 1 }] } },
    ]);
    west.client.close();
  });

  it("calls the export ready as soon as the hub has answered, without any other change", async () => {
    const view = await viewUntil(running(), "sources", (text) => text.includes('"reason":"Exported"'));
    expect(view).toContain('"type":"Ready","status":"True"');
  });

  it("gives the workload and the gateway a credential that a sidecar can start from", async () => {
    const folder = workloadFolder(config.dataDir, { namespace: "shop", name: "cart" });
    await vi.waitFor(async () => expect(await readCredentialFolder(folder)).toBeDefined(), 30_000);
    expect(await readCredentialFolder(folder)).toEqual({
      cluster: "east",
      fleetDomain: "acme.mesh",
      agent: { host: "127.0.0.1", port: config.adsPort },
      locality: { region: "", zone: "" },
      ...{ namespace: "shop", name: "cart", serviceAccount: "cart" },
      sidecar: {
        applications: [{ port: 8080, address: "127.0.0.1", applicationPort: 9090 }],
        inboundAddresses: ["127.64.0.0"],
        httpProxy: { address: "127.64.0.0", port: 15001 },
        loopback: { rangeStart: "127.64.0.0", blockStart: "127.64.0.0" },
        lowestPort: expect.any(Number) as number,
      },
    });
    expect(await readCredentialFolder(gatewayFolder(config.dataDir))).toMatchObject({ name: "isthmus-gateway" });
  });

  it("derives a Service for an import, with an address that is kept", async () => {
    const north = await joinAgent(hub, "north");
    const publisher = publish(north);
    const records: RegistryRecord[] = [
      { kind: "gateway", cluster: "north", addresses: [{ host: "127.0.0.1", port: 25443 }], region: "", zone: "" },
      {
        ...{
          kind: "service",
          cluster: "north",
          namespace: "shop",
          name: "stock",
          exportedAtMs: 1,
          type: "ClusterSetIP",
        },
        ports: [{ name: "http", port: 80, protocol: "TCP", appProtocol: "http" }],
        serviceAccounts: ["stock"],
      },
      {
        kind: "capacity",
        cluster: "north",
        namespace: "shop",
        name: "stock",
        ports: [{ port: 80, ready: 1, total: 1 }],
      },
    ];
    publisher.send({ puts: records.map(toWire), synced: true });
    await publisher.next();
    importAddress = addressOfStock(await viewUntil(running(), "ir", (text) => addressOfStock(text) !== undefined));
    expect(importAddress).toMatch(/^127\.64\./);
    // block 0 is the workload's own: the address in it is the service's as it is
    const hosts = join(workloadFolder(config.dataDir, { namespace: "shop", name: "cart" }), credentialFile.hosts);
    const line = `${importAddress} stock.shop.svc.clusterset.local\n`;
    await vi.waitFor(async () => expect(await readFile(hosts, "utf8")).toContain(line), 30_000);
    publisher.finish();
    north.client.close();
    expect(JSON.parse(await readFile(join(config.dataDir, "addresses.json"), "utf8"))).toMatchObject({
      services: { "shop/isthmus-stock": expect.any(Number) as number },
    });
  });

  it("takes policy that another member wants here, loses it again, and gives its own to others", async () => {
    const south = await joinAgent(hub, "south");
    const publisher = publish(south);
    const spec = (name: string) => ({
      destination: { kind: "ServiceAccount", name },
      sources: [{ kind: "ServiceAccount", name: "web" }],
      rules: [{ kind: "TCPRoute", name: "any" }],
    });
    const copy = { apiVersion: "access.smi-spec.io/v1alpha3", spec: spec("cart") };
    const names = { policyKind: "TrafficTarget", namespace: "shop", name: "from-south" };
    const record: RegistryRecord = {
      ...{ kind: "policy", cluster: "south", ...names, members: ["east"], manifest: JSON.stringify(copy) },
    };
    publisher.send({ puts: [toWire(record)], synced: true });
    await publisher.next();
    const route = "apiVersion: specs.smi-spec.io/v1alpha3\nkind: TCPRoute\nmetadata: { name: any, namespace: shop }\n";
    await folder.write("any.yaml", route);
    const granted = (text: string) => text.includes('"name":"from-south"');
    expect(granted(await viewUntil(running(), "ir", granted))).toBe(true);
    publisher.send({ puts: [], deleteKeys: ["south/policy/shop/TrafficTarget/from-south"] });
    await publisher.next();
    expect(granted(await viewUntil(running(), "ir", (text) => !granted(text)))).toBe(false);
    const events = watch(south);
    await folder.write(
      "any.yaml",
      route.replace("namespace: shop", 'namespace: shop, annotations: { isthmus.dev/replicate: "south, north" }'),
    );
    const [sent] = (
      await events.nextUntil(
        (event) => event.event === "change" && event.change.op === "put" && event.change.put.kind === "policy",
      )
    ).slice(-1);
    expect(sent).toMatchObject({
      change: { put: { cluster: "east", policy: { name: "any", members: ["north", "south"] } } },
    });
    events.cancel();
    publisher.finish();
    south.client.close();
  });

  it("keeps everything and says so when the folder is gone, and goes on when it is back", async () => {
    const away = `${folder.manifests}-away`;
    await rename(folder.manifests, away);
    const frozen = await viewUntil(running(), "problems", (text) => text.includes("ISTHMUS_MANIFESTS_FROZEN"));
    expect(frozen).toContain("what was read last stays in force");
    expect(JSON.stringify(await running().view("sources"))).toContain('"name":"cart"');
    await rename(away, folder.manifests);
    await folder.write("cart.yaml", `${workloadManifest("cart")}---\n${workloadManifest("basket")}`);
    expect(await viewUntil(running(), "sources", (text) => text.includes('"name":"basket"'))).toContain("basket");
    expect(await running().view("problems")).toEqual([]);
  });

  it("starts with the hub away as it ended: its first configuration has the import, at its address", async () => {
    await hub.stop();
    await running().stop();
    site = await startSite(config);
    expect(addressOfStock(JSON.stringify(await running().view("ir")))).toBe(importAddress);
  });

  it("takes no credential away at its start, however long its first health check takes", async () => {
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const check = `  healthCheck: { path: /, port: ${port}, timeoutMs: 700 }\n`;
    await folder.write("slow.yaml", workloadManifest("slow", check));
    await viewUntil(running(), "sources", (text) => text.includes('"name":"slow"'));
    const token = join(workloadFolder(config.dataDir, { namespace: "shop", name: "cart" }), "token");
    const before = await stat(token);
    await running().stop();
    site = await startSite(config);
    expect((await stat(token)).ino).toBe(before.ino);
    silent.close();
  });

  it("refuses to start a second time on the same ports, and says what to change", async () => {
    await expect(startSite(config)).rejects.toMatchObject({ code: "ISTHMUS_LISTEN" });
  });
});

describe("a site that has not joined", () => {
  let folder: SiteFolder;

  beforeEach(async () => {
    folder = await makeSiteFolder();
    return () => folder.remove();
  });

  it("ends at once when it was given no token, and names the next step", async () => {
    const ended = await startSite(await folder.config()).catch((error: unknown) => error);
    expect(((ended as Error).cause as Error).message).toBe("this site has not joined a fleet");
  });

  it("waits for a token file that is not there yet, says so, and refuses what is no token", async () => {
    const tokenFile = join(folder.top, "token");
    const log = capturedLog();
    const deps = { clock: systemClock, random: () => 0.5, log, version: "test" };
    const ended = runSite(await folder.config({ tokenFile }), new AbortController().signal, deps);
    const outcome = ended.catch((error: unknown) => error);
    await eventually(() => log.lines.join("").includes("waiting for a join token"));
    await writeFile(tokenFile, "hello");
    expect(((await outcome) as Error).cause).toMatchObject({ code: "ISTHMUS_TOKEN_MALFORMED" });
  });
});
