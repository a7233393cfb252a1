// The clusters themselves: isolated from each other in the hard layout, broken on purpose and healed, and gone without a
// trace after `down`, Ctrl-C and kill -9. It brings up what it needs; the product's images serve as test pods.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildImages } from "../../deploy/images.ts";
import { downFleet, openFleet, upFleet, type Cluster, type Fleet } from "../fleet.ts";
import { until } from "../stage/until.ts";
import { silentProgress } from "../../shared/progress.ts";
import { readRecord } from "../run/record.ts";
import { fixedFoldersPresent, tracesOf } from "../run/traces.ts";
import { balancerOf, fetchFrom, webObjects } from "./clusters/web-pod.ts";

/** The bar is 45 s on an idle machine; a test on a busy one asserts three times that. */
const WARM_START_MS = 3 * 45_000;
const clustersProgram = fileURLToPath(new URL("../clusters.ts", import.meta.url));
const suffix = Math.floor(Math.random() * 36 ** 3)
  .toString(36)
  .padStart(3, "0");
const runIds = {
  main: `main-${suffix}`,
  side: `side-${suffix}`,
  gone: `gone-${suffix}`,
  ctrlc: `int-${suffix}`,
};

interface Ended {
  readonly status: number | null;
  readonly stderr: string;
}

/** `npm run clusters -- ARGS` without npm; `onLine` sees standard error, for acting at a certain moment. */
function clustersCommand(
  args: readonly string[],
  onLine: (line: string, child: ChildProcess) => void = () => undefined,
) {
  return new Promise<Ended>((resolve, reject) => {
    const argv = ["--disable-warning=ExperimentalWarning", clustersProgram, ...args];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "pipe"] });
    let stderr = "";
    createInterface({ input: child.stderr }).on("line", (line) => {
      stderr += `${line}\n`;
      onLine(line, child);
    });
    child.stdout.resume();
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stderr }));
  });
}

let fleet: Fleet;
let east: Cluster;
let west: Cluster;
let image: string;
let warmStartMs: number;
const foldersBefore = fixedFoldersPresent();

beforeAll(async () => {
  const images = await buildImages(() => undefined);
  image = images.find((each) => each.target === "isthmus")?.name ?? "";
  const options = {
    clusters: ["east", "west", "north"],
    imageArchives: images.map((each) => each.archive),
    signal: new AbortController().signal,
    progress: silentProgress,
    yes: true,
  };
  // the first start makes the image template when the images are new; the second is the warm one that is measured
  await upFleet({ ...options, clusters: ["east"], runId: runIds.main });
  await downFleet(runIds.main);
  const started = performance.now();
  fleet = await upFleet({ ...options, runId: runIds.main });
  warmStartMs = performance.now() - started;
  process.stdout.write(`warm start of three clusters: ${(warmStartMs / 1000).toFixed(1)} s\n`);
  east = fleet.cluster("east");
  west = fleet.cluster("west");
  await Promise.all(
    [...fleet.clusters.values()].map(async (cluster) => {
      await until("the default service account", 60_000, () =>
        cluster.kubectl(["get", "serviceaccount", "default"]).catch(() => undefined),
      );
      await cluster.kubectl(["apply", "-f", "-"], { input: webObjects(image, cluster.name) });
      await cluster.kubectl(["wait", "--for=condition=Ready", "pod/web-pod", "--timeout=60s"]);
    }),
  );
}, 900_000);

afterAll(async () => {
  for (const runId of Object.values(runIds)) await downFleet(runId);
}, 120_000);

describe("three clusters", () => {
  it("start warm within the bar", () => {
    expect(warmStartMs).toBeLessThan(WARM_START_MS);
  });

  it("use the same pod network, so that addresses of pods mean nothing across clusters", async () => {
    const podIp = (cluster: Cluster) => cluster.kubectl(["get", "pod", "web-pod", "-o", "jsonpath={.status.podIP}"]);
    expect(await podIp(east)).toMatch(/^10\.244\.0\./);
    expect(await podIp(west)).toMatch(/^10\.244\.0\./);
    expect(await fetchFrom(east, `http://${await podIp(west)}:8080/`)).not.toBe("west");
  });

  it("reach each other's load balancers, and so does the host", async () => {
    const address = await balancerOf(west);
    expect(await fetchFrom(east, `http://${address}/`)).toBe("west");
    expect(await (await fetch(`http://${address}/`)).text()).toBe("west");
    expect(await fetchFrom(west, `http://${address}/`)).toBe("west");
  });

  it("are refused at each other's API servers and at addresses that no service has", async () => {
    expect(await fetchFrom(east, `https://${west.nodeAddress}:6443/`)).toBe("ECONNREFUSED");
    const unused = (await balancerOf(west)).replace(/\d+$/, "250");
    expect(await fetchFrom(east, `http://${unused}/`)).toBe("ECONNREFUSED");
  });

  it("resolve service names, clusterset names and nothing else", async () => {
    expect(await fetchFrom(east, "http://web.default.svc.cluster.local/")).toBe("east");
    expect(await fetchFrom(east, "http://far.default.svc.clusterset.local/")).toBe("east");
    expect(await fetchFrom(east, "http://example.com/")).toBe("ENOTFOUND");
  });

  it("reach the hub's address, where a program of the run listens", async () => {
    const listen = `require("http").createServer((q, s) => s.end("hub")).listen(8081, "${fleet.hub.address}")`;
    await fleet.spawnIn(fleet.hub.netns, [process.execPath, "-e", listen], { name: "hub-test" });
    await until("the hub's answer", 60_000, async () =>
      (await fetchFrom(east, `http://${fleet.hub.address}:8081/`)) === "hub" ? true : undefined,
    );
  });

  it("give a released load balancer address to the next service", async () => {
    const address = await balancerOf(fleet.cluster("north"));
    const north = fleet.cluster("north");
    await north.kubectl(["delete", "service", "web"]);
    await north.kubectl([
      "expose",
      "pod",
      "web-pod",
      "--name=web",
      "--port=80",
      "--target-port=8080",
      "--type=LoadBalancer",
    ]);
    expect(await balancerOf(north)).toBe(address);
  });
});

describe("faults", () => {
  it("cut: connections are reset until healed", async () => {
    const url = `http://${await balancerOf(west)}/`;
    await fleet.faults.cut("east", "west");
    expect(await fetchFrom(east, url)).toBe("ECONNREFUSED");
    await fleet.faults.heal("east", "west");
    expect(await fetchFrom(east, url)).toBe("west");
  });

  it("black hole: nothing answers until healed, and others are not hit", async () => {
    const address = await balancerOf(west);
    await fleet.faults.blackhole("east", address);
    expect(await fetchFrom(east, `http://${address}/`, 1000)).toBe("TimeoutError");
    expect(await fetchFrom(fleet.cluster("north"), `http://${address}/`)).toBe("west");
    await fleet.faults.heal();
    expect(await fetchFrom(east, `http://${address}/`)).toBe("west");
    expect(await fleet.faults.list()).toEqual([]);
  });

  it("a black hole inside a cluster hits a pod's address", async () => {
    const ip = await east.kubectl(["get", "pod", "web-pod", "-o", "jsonpath={.status.podIP}"]);
    await east.faults.blackhole(ip);
    await expect(fetch(`http://${await balancerOf(east)}/`, { signal: AbortSignal.timeout(1000) })).rejects.toThrow();
    await east.faults.heal(ip);
    expect(await (await fetch(`http://${await balancerOf(east)}/`)).text()).toBe("east");
  });

  it("a killed API server is away until it is started again", async () => {
    await east.faults.killProgram("kube-apiserver");
    await expect(east.kubectl(["get", "nodes", "--request-timeout=2s"])).rejects.toThrow();
    await east.faults.startProgram("kube-apiserver");
    await until("the API server", 60_000, () => east.kubectl(["get", "--raw", "/readyz"]).catch(() => undefined));
  });

  it("a stopped pod accepts and does not answer, a continued one answers", async () => {
    const target = { namespace: "default", pod: "web-pod" };
    const address = await balancerOf(west);
    expect(await west.faults.stopPod(target)).toBe(1);
    expect(await fetchFrom(east, `http://${address}/`, 1000)).toBe("TimeoutError");
    await west.faults.continuePod(target);
    expect(await fetchFrom(east, `http://${address}/`)).toBe("west");
  });

  it("a killed container is started again by the kubelet", async () => {
    expect(await west.faults.killPod({ namespace: "default", pod: "web-pod", container: "web" })).toBe(1);
    await until("a restart", 90_000, async () => {
      const path = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
      return (await west.kubectl(["get", "pod", "web-pod", "-o", path])) === "1 true";
    });
  });
});

describe("runs", () => {
  it("come up side by side in networks of their own, by the command line too", async () => {
    const done = await clustersCommand(["up", "--run", runIds.side, "--clusters", "solo"]);
    expect(done.stderr).not.toContain("ISTHMUS_");
    expect(done.status).toBe(0);
    const [main, side] = await Promise.all([readRecord(runIds.main), readRecord(runIds.side)]);
    expect(side?.subnet).not.toBe(main?.subnet);
    const solo = (await openFleet(runIds.side, silentProgress)).cluster("solo");
    expect(await solo.kubectl(["get", "nodes", "-o", "name"])).toContain("node/solo-node");
  });

  it("refuse a name that is taken, and an image that is none, in one line", async () => {
    const taken = await clustersCommand(["up", "--run", runIds.side, "--clusters", "solo"]);
    expect(taken).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("ISTHMUS_CLUSTERS_RUN_EXISTS") as string,
    });
    const folder = await mkdtemp(join(tmpdir(), "isthmus-bad-"));
    await writeFile(join(folder, "image.tar"), "no tar at all");
    const bad = await clustersCommand(["up", "--run", runIds.gone, "--image", join(folder, "image.tar")]);
    await rm(folder, { recursive: true });
    expect(bad).toMatchObject({ status: 1, stderr: expect.stringContaining("ISTHMUS_CLUSTERS_BAD_IMAGE") as string });
    expect(await tracesOf(runIds.gone)).toEqual([]);
  });

  it("leave nothing after down, and the run beside is not touched", async () => {
    expect((await clustersCommand(["down", "--run", runIds.side])).status).toBe(0);
    expect(await tracesOf(runIds.side)).toEqual([]);
    expect(await east.kubectl(["get", "--raw", "/readyz"])).toBe("ok");
  });

  it("leave nothing after Ctrl-C while they start", async () => {
    const done = await clustersCommand(["up", "--run", runIds.ctrlc, "--clusters", "one,two"], (line, child) => {
      if (line.includes("importing") || line.includes("starting")) child.kill("SIGINT");
    });
    expect(done.status).toBe(1);
    expect(done.stderr).toContain("ISTHMUS_CLUSTERS_INTERRUPTED");
    expect(await tracesOf(runIds.ctrlc)).toEqual([]);
  });

  it("leave nothing when kill -9 hits their owner and another run comes or goes", async () => {
    const owner = `
      import { upFleet } from ${JSON.stringify(new URL("../fleet.ts", import.meta.url).href)};
      import { silentProgress } from ${JSON.stringify(new URL("../../shared/progress.ts", import.meta.url).href)};
      const signal = new AbortController().signal;
      await upFleet({ runId: "${runIds.gone}", clusters: ["lost"], imageArchives: [], signal, progress: silentProgress });
      console.error("is up");
      setInterval(() => undefined, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", owner], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stderr }).on("line", (line) => (line === "is up" ? resolve() : undefined));
      child.on("exit", (code) => reject(new Error(`the owner ended with ${String(code)}`)));
    });
    child.removeAllListeners("exit");
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    expect(await tracesOf(runIds.gone)).not.toEqual([]);
    expect((await clustersCommand(["down", "--run", "no-such-run"])).status).toBe(0);
    expect(await tracesOf(runIds.gone)).toEqual([]);
  });

  it("leave nothing at all in the end", async () => {
    await downFleet(runIds.main);
    for (const runId of Object.values(runIds)) expect(await tracesOf(runId)).toEqual([]);
    expect(fixedFoldersPresent()).toEqual(foldersBefore);
  });
});
