// A site's source with real folders, processes and sockets: changes are seen as they are made.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, stat, unlink, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { capturedLog } from "../../hub/testing/redis.ts";
import { systemClock } from "../../shared/clock.ts";
import { eventually } from "../hub/testing/eventually.ts";
import type { Problem } from "../../shared/result.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { registrationFile } from "./credential-folder.ts";
import { parseLoopbackRange } from "./loopback-range.ts";
import { openSiteSource, type SiteSource } from "./site-source.ts";
import { exportManifest, makeSiteFolder, workloadManifest, type SiteFolder } from "./testing/site-folder.ts";

let folder: SiteFolder;
let stops: (() => Promise<unknown>)[];

beforeEach(async () => {
  folder = await makeSiteFolder();
  stops = [];
});

afterEach(async () => {
  for (const stop of stops.reverse()) await stop();
  await folder.remove();
});

interface Site {
  readonly source: SiteSource;
  /** Names of the workloads in force. */
  readonly names: () => string;
  readonly codes: () => readonly string[];
  readonly stop: () => Promise<void>;
}

async function open(loopback = "127.64.0.0/12"): Promise<Site> {
  const range = loopback === "none" ? undefined : parseLoopbackRange(loopback);
  await mkdir(folder.data, { recursive: true, mode: 0o700 });
  const gatewayBind = { host: "127.0.0.1", port: 15443 };
  const [dataDir, manifestsDir] = [folder.data, folder.manifests];
  const source = await openSiteSource({
    ...{ dataDir, manifestsDir, range, gatewayBind },
    ...{ clock: systemClock, random: () => 0.5, log: capturedLog() },
  });
  const ending = new AbortController();
  const running = source.run(ending.signal);
  const stop = async () => {
    ending.abort(new Error("the test has ended"));
    await running;
  };
  stops.push(stop);
  return {
    source,
    names: () =>
      (source.inputs()?.pods ?? []).map(({ name, ready }) => `${name}${ready ? "" : " (not ready)"}`).join(" "),
    codes: () => source.problems().map(({ code }: Problem) => code),
    stop,
  };
}

describe("a folder of manifests", () => {
  it("says by a Namespace whether its workloads are called without a grant, as long as it says so", async () => {
    const { source } = await open();
    const namespace = (word: string) =>
      `apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, annotations: { isthmus.dev/permissive: "${word}" } }\n`;
    await folder.write("shop.yaml", namespace("true"));
    await eventually(() => source.inputs()?.namespaceModes?.[0]?.permissive === "true");
    await folder.write("shop.yaml", namespace("false"));
    await eventually(() => source.inputs()?.namespaceModes?.[0]?.permissive === "false");
    await unlink(join(folder.manifests, "shop.yaml"));
    await eventually(() => source.inputs()?.namespaceModes?.length === 0);
  });

  it("is followed while it changes: a file comes, changes, turns bad, is mended and goes", async () => {
    const { names, codes } = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await eventually(() => names() === "cart");
    await folder.write("b.yaml", workloadManifest("stock"));
    await eventually(() => names() === "cart stock");
    await folder.write("a.yaml", "kind: [");
    await eventually(() => codes().includes("ISTHMUS_MANIFEST"));
    expect(names()).toBe("cart stock");
    await folder.write("a.yaml", workloadManifest("basket"));
    await eventually(() => names() === "basket stock" && codes().length === 0);
    await unlink(join(folder.manifests, "b.yaml"));
    await eventually(() => names() === "basket");
  });

  it("that is renamed over, as editors and config tools do, is read", async () => {
    const { names } = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await eventually(() => names() === "cart");
    await folder.write(".a.yaml.swp", workloadManifest("basket"));
    await rename(join(folder.manifests, ".a.yaml.swp"), join(folder.manifests, "a.yaml"));
    await eventually(() => names() === "basket");
  });

  it("that goes away freezes what was read; one that is made anew is followed", async () => {
    const { names, codes } = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await eventually(() => names() === "cart");
    // at once: a file that goes before its folder is a file that was taken away
    await rename(folder.manifests, `${folder.manifests}.gone`);
    await eventually(() => codes().includes("ISTHMUS_MANIFESTS_FROZEN"));
    expect(names()).toBe("cart");
    await mkdir(folder.manifests);
    await folder.write("a.yaml", workloadManifest("basket"));
    await eventually(() => names() === "basket" && codes().length === 0);
    await folder.write("a.yaml", workloadManifest("stock"));
    await eventually(() => names() === "stock");
  });

  it("of data that goes away freezes everything, which is said, and nothing is lost when it is back", async () => {
    const { names, codes } = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await eventually(() => names() === "cart");
    await rename(folder.data, `${folder.data}.away`);
    await eventually(() => codes().includes("ISTHMUS_DATA_GONE"));
    await folder.write("b.yaml", workloadManifest("basket"));
    await eventually(() => codes().includes("ISTHMUS_DATA_GONE") && names() === "cart");
    await expect(stat(folder.data)).rejects.toThrow("ENOENT");
    await rename(`${folder.data}.away`, folder.data);
    await eventually(() => names() === "cart basket" && codes().length === 0);
  });

  it("in whose place something else lies freezes too", async () => {
    const { names, codes } = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await eventually(() => names() === "cart");
    await rename(folder.manifests, `${folder.manifests}.gone`);
    await writeFile(folder.manifests, "no folder");
    await eventually(() => codes().includes("ISTHMUS_MANIFESTS_FROZEN"));
    expect(names()).toBe("cart");
  });

  it("that was bad when the agent started again means what it meant before", async () => {
    const first = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await folder.write("b.yaml", workloadManifest("stock"));
    await eventually(() => first.names() === "cart stock");
    await first.stop();
    await folder.write("a.yaml", "kind: [");
    await unlink(join(folder.manifests, "b.yaml"));
    const second = await open();
    await eventually(() => second.codes().includes("ISTHMUS_MANIFEST"));
    expect(second.names()).toBe("cart");
  });

  it("misses no change, however fast they follow and however alike they look", async () => {
    const { source } = await open();
    const text = (port: number) => workloadManifest("cart").replaceAll("8080", String(port));
    for (let round = 0; round < 20; round += 1) {
      const port = 8000 + round;
      await folder.write("a.yaml", text(port));
      await eventually(() => source.inputs()?.pods[0]?.bound?.applications[0]?.port === port);
    }
  });

  it("tells nobody of an edit that changes no meaning", async () => {
    const { source, names } = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await eventually(() => names() === "cart");
    const before = source.inputs();
    let told = 0;
    source.onChange(() => (told += 1));
    // whole at once: a file that is read while it is written is one that says nothing yet, and that is told
    const put = async (file: string, text: string) => {
      await writeFile(join(folder.top, file), text);
      await rename(join(folder.top, file), join(folder.manifests, file));
    };
    await put("a.yaml", `# a comment\n${workloadManifest("cart")}`);
    await put("b.yaml", "# nothing\n");
    await put("c.yaml", "apiVersion: v1\nkind: Pod\n");
    await eventually(() => told > 0);
    expect([told, source.inputs()]).toEqual([1, before]);
  });
});

describe("an export", () => {
  it("is as old as it was first seen, through a restart and a slip, and new when it is made anew", async () => {
    const ages = ({ source }: Site) => source.inputs()?.exports.map(({ createdAtMs }) => createdAtMs) ?? [];
    const first = await open();
    await folder.write("a.yaml", exportManifest("cart"));
    await eventually(() => ages(first).length === 1);
    const [seenMs] = ages(first);
    await first.stop();
    await folder.write("a.yaml", "kind: [");
    const second = await open();
    await eventually(() => second.codes().includes("ISTHMUS_MANIFEST"));
    await folder.write("a.yaml", exportManifest("cart"));
    await eventually(() => ages(second).length === 1);
    expect(ages(second)).toEqual([seenMs]);
    await unlink(join(folder.manifests, "a.yaml"));
    await eventually(() => ages(second).length === 0);
    await folder.write("a.yaml", exportManifest("cart"));
    await eventually(() => ages(second).length === 1);
    expect(ages(second)[0]).toBeGreaterThan(seenMs ?? Infinity);
  });
});

describe("addresses", () => {
  it("are the same after a restart, whatever the order in which workloads come", async () => {
    const first = await open();
    await folder.write("b.yaml", workloadManifest("stock"));
    await eventually(() => first.names() === "stock");
    const stock = first.source.inputs()?.pods[0]?.ip;
    await first.stop();
    await folder.write("a.yaml", workloadManifest("cart"));
    const second = await open();
    await eventually(() => second.names() === "cart stock");
    const ips = second.source.inputs()?.pods.map(({ ip }) => ip);
    expect([ips?.[1], new Set(ips).size]).toEqual([stock, 2]);
    const vips = second.source.inputs()?.services.flatMap(({ clusterIps }) => clusterIps);
    expect([vips?.length, new Set(vips).size]).toEqual([2, 2]);
  });

  it("of loopback are none where the range is: a workload needs its own, and gets a port for its HTTP proxy", async () => {
    const { source, names, codes } = await open("none");
    await folder.write("a.yaml", workloadManifest("cart"));
    await eventually(() => codes().includes("ISTHMUS_WORKLOAD_ADDRESS"));
    await folder.write("a.yaml", workloadManifest("cart", "  addresses: [192.0.2.7]\n"));
    await eventually(() => names() === "cart");
    const [pod] = source.inputs()?.pods ?? [];
    expect(pod?.bound).toMatchObject({ inboundAddresses: ["192.0.2.7"], loopback: { rangeStart: "", blockStart: "" } });
    expect(pod?.bound?.httpProxy.port).toBeGreaterThanOrEqual(15_100);
  });

  it("are where a workload's connections are redirected to, if it says so and there are any", async () => {
    const redirected = workloadManifest("cart", "  addresses: [192.0.2.7]\n  redirect: true\n");
    await folder.write("a.yaml", redirected);
    const first = await open();
    await eventually(() => first.names() === "cart");
    const bound = first.source.inputs()?.pods[0]?.bound;
    expect(bound?.redirect).toEqual({ address: bound?.loopback.blockStart, port: 15_002, range: "127.64.0.0/12" });
    await first.stop();
    const second = await open("none");
    await eventually(() => second.codes().includes("ISTHMUS_WORKLOAD_ADDRESS"));
    expect(second.source.inputs()?.pods[0]?.bound?.redirect).toBeUndefined();
  });

  it("that cannot be kept are not used: the folder does not take the file, the next try does", async () => {
    const { names, codes } = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await eventually(() => names() === "cart");
    // a folder in the file's place: no user, root included, can write it
    await rm(join(folder.data, "addresses.json"));
    await mkdir(join(folder.data, "addresses.json", "in-the-way"), { recursive: true });
    await folder.write("b.yaml", workloadManifest("stock"));
    await eventually(() => codes().includes("ISTHMUS_SITE_STATE"));
    expect(names()).toBe("cart");
    await rm(join(folder.data, "addresses.json"), { recursive: true });
    await eventually(() => names() === "cart stock" && codes().length === 0);
  });
});

describe("a registered workload", () => {
  const text = (pid: number) =>
    workloadManifest("cart").replace("namespace: shop", `namespace: shop, annotations: { isthmus.dev/pid: "${pid}" }`);

  it("is one like any other, and goes with its process", async () => {
    const { names } = await open();
    const child = spawn(process.execPath, ["-e", "process.stdin.resume()"], { stdio: ["pipe", "ignore", "ignore"] });
    const file = registrationFile(folder.data, { namespace: "shop", name: "cart" });
    await writeFile(file, text(child.pid ?? 0));
    await eventually(() => names() === "cart");
    child.kill("SIGKILL");
    await once(child, "exit");
    await eventually(() => names() === "" && !existsSync(file));
  });

  it("that another process takes over at once is told of, though it is the same in the mesh", async () => {
    const { source, names } = await open();
    const file = registrationFile(folder.data, { namespace: "shop", name: "cart" });
    await writeFile(file, text(process.ppid));
    await eventually(() => names() === "cart");
    const pid = () => source.objects().records.Workload[0]?.pid;
    let toldPid: number | undefined;
    source.onChange(() => (toldPid = pid()));
    await writeFile(file, text(process.pid));
    await eventually(() => toldPid === process.pid);
  });

  it("that a manifest declares too is the manifest's", async () => {
    const { source, names } = await open();
    await folder.write("a.yaml", workloadManifest("cart"));
    await writeFile(registrationFile(folder.data, { namespace: "shop", name: "cart" }), text(process.pid));
    await eventually(() => source.problems().length === 1);
    expect([names(), source.problems()[0]?.message]).toEqual([
      "cart",
      "registered/shop.cart.yaml:2: Workload shop/cart is declared in a.yaml:2 already; that one is in force: rename one of them",
    ]);
  });

  it("is written into a folder that nobody else may enter", async () => {
    await open();
    expect((await stat(join(folder.data, "registered"))).mode & 0o777).toBe(0o700);
  });
});

describe("a workload with a health check", () => {
  const check = (spec: string) =>
    workloadManifest("cart", `  healthCheck: { ${spec}, intervalMs: 50, timeoutMs: 500 }\n`);

  it("is not told of before it was asked, is out when its application dies, and back when it answers again", async () => {
    const port = await (await ownGround()).port();
    const { names } = await open();
    await folder.write("a.yaml", check(`tcp: true, port: ${port}`));
    await eventually(() => names() === "cart (not ready)");
    const application = await listening(createServer(), port);
    await eventually(() => names() === "cart");
    await close(application);
    await eventually(() => names() === "cart (not ready)");
    const again = await listening(createServer(), port);
    await eventually(() => names() === "cart");
    await close(again);
  });

  it("is ready as long as its path answers well, whatever its port does", async () => {
    let status = 200;
    const paths = new Set<string | undefined>();
    const http = createHttpServer((request, response) => {
      paths.add(request.url);
      response.writeHead(status).end();
    });
    const application = await listening(http, 0);
    const { port } = application.address() as AddressInfo;
    const { names } = await open();
    await folder.write("a.yaml", check(`path: /healthz, port: ${port}`));
    await eventually(() => names() === "cart");
    status = 503;
    await eventually(() => names() === "cart (not ready)");
    status = 204;
    await eventually(() => names() === "cart");
    expect([...paths]).toEqual(["/healthz"]);
    await close(application);
  });
});

async function listening<S extends Server>(server: S, port: number): Promise<S> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function close(server: Server): Promise<void> {
  server.close();
  await once(server, "close");
}
