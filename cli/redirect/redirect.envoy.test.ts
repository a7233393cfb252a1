// A program that knows nothing of a mesh, redirected by the kernel into a real sidecar: what it reaches and as whom, what others may
// not, and what is left afterwards. Needs root, for control groups and nftables.
import { execFile, execFileSync, spawn } from "node:child_process";
import { createServer } from "node:http";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { BoundMember } from "../../agent/xds/testing/bound-member.ts";
import { testFleet, type TestFleet } from "../../agent/xds/testing/certificates.ts";
import { eventually, findEnvoy, skipReason, start, type Running } from "../../agent/xds/testing/envoy.ts";
import { fleetDomain } from "../../agent/xds/testing/mesh-case.ts";
import { alone, ownGround } from "../../shared/testing/ground.ts";
import { startWorkloadDns, DNS_PORT, type WorkloadDns } from "../workload/dns.ts";
import { openRedirect, type Redirect } from "./redirect.ts";
import { planOf } from "./testing/plan.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const ground = await ownGround();
const { net } = ground;
const RANGE = `${net}.0.0`;
const range = `${RANGE}/16`;
const [FRONT, CART] = [`${net}.16.0`, `${net}.32.0`];
/** Of a redirect that leads nowhere. */
const NOWHERE = `${net}.48.0`;
const [APPLICATION, OUTSIDE, OWN] = [await ground.port(), await ground.port(), await ground.port()];

const mesh = `
services:
  - name: cart
    vips: [${net}.0.1]
    ports:
      - { port: 80, local: [{ address: ${CART} }] }
      - { port: 8080, local: [{ address: ${CART} }] }
  - { name: secret, vips: [${net}.0.3], ports: [{ port: 8080, local: [{ address: ${CART}, serviceAccount: secret }] }] }
grants:
  - { name: front-to-cart, from: [east/shop/front], to: shop/cart, http: [{ pathRegex: /items }] }
`;
const hosts = `${net}.16.1 cart.shop.svc.cluster.local cart.shop\n${net}.16.3 secret.shop.svc.cluster.local\n`;

function cannot(): string | undefined {
  if (process.getuid?.() !== 0) return "not root: a redirect needs it";
  const found = findEnvoy();
  return "missing" in found ? found.missing : undefined;
}

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
const reason = skipReason(cannot());
/** Of this machine, but not loopback: the kernel takes it for an address like any other. */
const outside = Object.values(networkInterfaces())
  .flatMap((each) => each ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

interface Home {
  readonly dir: string;
  readonly fleet: TestFleet;
}

function member(name: string, block: string, { dir, fleet }: Home, more: Partial<BoundMember["bound"]>): BoundMember {
  const bound = {
    applications: [],
    inboundAddresses: [block],
    httpProxy: { address: block, port: 15_001 },
    loopback: { rangeStart: RANGE, blockStart: block },
    lowestPort: 1024,
    ...more,
  };
  return new BoundMember({ name, bound, dir, envoy, trust: fleet.svid("east", "shop", name) });
}

function tablesLeft(): readonly string[] {
  const listed = execFileSync("nft", ["list", "tables", "inet"], { encoding: "utf8" });
  return listed.split("\n").filter((line) => line.includes("isthmus_run_"));
}

/** Seen as the product sees it: the unified hierarchy, whatever else the machine has mounted. */
function groupsLeft(): readonly string[] {
  const script = "mount -t cgroup2 none /sys/fs/cgroup && find /sys/fs/cgroup -type d -name 'isthmus_run_*'";
  const listed = execFileSync("unshare", ["--mount", "sh", "-c", script], { encoding: "utf8" });
  return listed.split("\n").filter((line) => line !== "");
}

describe.skipIf(reason !== undefined)("a program whose connections are redirected", () => {
  const processes: Running[] = [];
  let dir = "";
  let front: BoundMember;
  let cart: BoundMember;
  let redirect: Redirect;
  let dns: WorkloadDns;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "isthmus-redirected-"));
    const home = { dir, fleet: testFleet(dir, fleetDomain) };
    const to = { address: FRONT, port: 15_002, range };
    front = member("front", FRONT, home, { redirect: to });
    cart = member("cart", CART, home, {
      applications: [{ port: 8080, address: "127.0.0.1", applicationPort: APPLICATION }],
    });
    for (const each of [front, cart]) each.configure(mesh);
    redirect = await openRedirect();
    await cart.startProxy();
    await front.startProxy((command) => redirect.sidecarCommand(command));
    const program = join(import.meta.dirname, "../../agent/xds/testing/application.mjs");
    const application = start([process.execPath, program, String(APPLICATION), "cart"]);
    processes.push(application);
    await eventually("the application", () => Promise.resolve(application.log().includes("listening") || undefined));
    writeFileSync(join(front.dir, "hosts"), hosts);
    const sidecar = front.bound;
    dns = await startWorkloadDns({ dir: front.dir, sidecar }, { forward: false, overIpv6: true }, () => undefined);
    const portV6 = dns.at.find(({ address }) => address === "::1")?.port;
    const { applications, inboundAddresses } = sidecar;
    const plan = { applications, inboundAddresses, blockStart: FRONT, redirect: to };
    await redirect.enforce({ sidecar: plan, agent: { uid: 0, address: "127.0.0.1" }, dns: { port: DNS_PORT, portV6 } });
  });

  afterAll(async () => {
    await redirect.close();
    await dns.close();
    await Promise.all([...processes, ...[front, cart].flatMap(({ proxy }) => proxy ?? [])].map((each) => each.stop()));
    rmSync(dir, { recursive: true, force: true });
  });

  interface Said {
    readonly status: number;
    readonly text: string;
  }

  /** As the redirected program would call: no proxy, no address of ours. */
  function called(...args: readonly string[]): Promise<Said> {
    const curl = ["curl", "-s", "-m", "10", "--noproxy", "*", "-w", "\n%{http_code}", ...args];
    const [program = "", ...rest] = redirect.applicationCommand(curl);
    return new Promise((resolve) => {
      execFile(program, rest, (_error, stdout) => {
        const end = stdout.lastIndexOf("\n");
        resolve({ status: Number(stdout.slice(end + 1)), text: stdout.slice(0, end) });
      });
    });
  }

  /** As `answered` of agent/xds/testing/world.ts: a sidecar that stalls takes HTTP for raw TCP, and closes what it would answer. */
  function answered(url: string): Promise<Said> {
    return eventually(`an answer to ${url}`, async () => {
      const said = await called(url);
      return said.status === 0 ? undefined : said;
    });
  }

  const byFront = /URI=spiffe:\/\/east\.acme\.mesh\/ns\/shop\/sa\/front"/;

  it.each([
    ["by its name", "http://cart.shop.svc.cluster.local:8080/items"],
    ["by its short name", "http://cart.shop:8080/items"],
    ["by its address", `http://${net}.16.1:8080/items`],
    ["on a port that no program without a privilege may bind", "http://cart.shop.svc.cluster.local/items"],
  ])("reaches a service %s, and the server sees who calls", async (_how, url) => {
    const answer = await answered(url);
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.text).toMatch(byFront);
  });

  it.each([
    ["a path that no grant names", "http://cart.shop:8080/admin", "no TrafficTarget lets spiffe://"],
    ["a service that it may not call", "http://secret.shop.svc.cluster.local:8080/items", "isthmus: no route"],
    ["a service by an address of another workload's", `http://${net}.32.1:8080/items`, "isthmus: no route"],
    ["another workload past the service", `http://${CART}:8080/items`, "isthmus: no route"],
    ["another workload's proxy", `http://${CART}:15001/items`, "isthmus: no route"],
  ])("is refused %s, with the reason", async (_what, url, text) => {
    const answer = await answered(url);
    expect(answer).toMatchObject({ status: 403 });
    expect(answer.text).toContain(text);
  });

  it("cannot look up what does not exist", async () => {
    expect(await called("http://absent.shop.svc.cluster.local/")).toMatchObject({ status: 0 });
  });

  it("reaches a program of its own machine that has no sidecar, on loopback", async () => {
    expect(await answered(`http://127.0.0.1:${APPLICATION}/own`)).toMatchObject({ status: 200 });
  });

  it.skipIf(outside === undefined)(
    "reaches what is outside the mesh through its sidecar, and over IPv4 alone",
    async () => {
      const server = createServer((_request, response) => response.end("outside"));
      await new Promise<void>((done) => server.listen(OUTSIDE, outside, done));
      try {
        const before = await front.stat("tcp.passthrough.downstream_cx_total");
        expect(await called(`http://${outside ?? ""}:${OUTSIDE}/`)).toEqual({ status: 200, text: "outside" });
        expect(await front.stat("tcp.passthrough.downstream_cx_total")).toBe(Math.max(before, 0) + 1);
      } finally {
        await new Promise((done) => server.close(done));
      }
    },
  );

  it("has its addresses and its proxy to itself: no other process of the machine can call in its name", async () => {
    expect(await front.directly(`http://${net}.16.1:8080/items`)).toMatchObject({ status: 0 });
    expect(await front.byProxy("http://cart.shop/items")).toMatchObject({ status: 0 });
    // the sidecar that nobody redirects to is as open as it was
    expect(await cart.directly(`http://${net}.32.0:15001/`)).not.toMatchObject({ status: 0 });
  });
});

/** A process of the application that lives on when its own parent is gone. */
function lingering(redirect: Redirect): number {
  const [program = "", ...args] = redirect.applicationCommand(["sleep", "1000"]);
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  child.unref();
  return child.pid ?? 0;
}

it.skipIf(reason !== undefined)(
  "over IPv6 a program is answered names, reaches its own machine, and is refused all else at once",
  () => {
    const script = join(import.meta.dirname, "testing/over-ipv6.ts");
    const said = execFileSync("unshare", ["--net", process.execPath, script], { encoding: "utf8" });
    expect(JSON.parse(said)).toEqual(["ECONNREFUSED", "connected", ["127.97.0.1"]]);
  },
);

it.skipIf(reason !== undefined)(
  "a daemon that would look names up for the program is hidden from it, and from nobody else",
  () => {
    const script = join(import.meta.dirname, "testing/lookup-daemon.ts");
    const inEmptyRun = ["--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"];
    const said = execFileSync("unshare", [...inEmptyRun, process.execPath, script], { encoding: "utf8" });
    expect(JSON.parse(said)).toEqual(["ECONNREFUSED", "connected"]);
  },
);

describe.skipIf(reason !== undefined)("the program's own port", () => {
  const port = OWN;
  const serve = `require("node:http").createServer((_request, response) => response.end("here")).listen(${port}, "0.0.0.0", () => console.log("listening"))`;
  const asUser = (uid: string, url: string) => [
    "setpriv",
    "--reuid",
    uid,
    "--clear-groups",
    "curl",
    "-s",
    "-m",
    "5",
    url,
  ];

  it("is reached by its sidecar, itself and the agent alone, on whatever address", async () => {
    const redirect = await openRedirect();
    const applications = [{ port: 8080, address: "127.0.0.1", applicationPort: port }];
    const plan = planOf(NOWHERE);
    const agent = { uid: 65_533, address: "127.0.0.1" };
    await redirect.enforce({ ...plan, agent, sidecar: { ...plan.sidecar, applications } });
    const program = start(redirect.applicationCommand([process.execPath, "-e", serve]));
    const reached = ([command = "", ...args]: readonly string[]) =>
      new Promise<boolean>((resolve) => execFile(command, args, (_error, stdout) => resolve(stdout === "here")));
    try {
      await eventually("the program", () => Promise.resolve(program.log().includes("listening") || undefined));
      const own = `http://127.0.0.1:${port}/`;
      expect(await reached(redirect.sidecarCommand(["curl", "-s", own]))).toBe(true);
      expect(await reached(redirect.applicationCommand(["curl", "-s", own]))).toBe(true);
      expect(await reached(asUser("65533", own))).toBe(true);
      for (const host of ["127.0.0.1", "127.0.0.9", outside ?? "127.0.0.1"])
        expect(await reached(asUser("65534", `http://${host}:${port}/`)), host).toBe(false);
    } finally {
      await redirect.close();
      await program.stop();
    }
  });
});

describe.skipIf(reason !== undefined)("a run", () => {
  const own = (pid: number) => [...tablesLeft(), ...groupsLeft()].filter((name) => name.includes(`_${pid}_`));

  it("that ends takes what its program left running with it, and leaves neither rules nor groups", async () => {
    const redirect = await openRedirect();
    await redirect.enforce(planOf(NOWHERE));
    const pid = lingering(redirect);
    await eventually("it is in the group", () => Promise.resolve(isRedirected(pid) || undefined));
    expect(own(process.pid)).not.toEqual([]);
    await redirect.close();
    await eventually("it has ended", () => Promise.resolve(isRunning(pid) ? undefined : true));
    expect(own(process.pid)).toEqual([]);
  });

  it("that was killed keeps its program redirected until the next run takes program, rules and groups away", () =>
    // any other run would do the same, one of another test too
    alone(async () => {
      const killed = start([process.execPath, join(import.meta.dirname, "testing/killed-run.ts"), NOWHERE]);
      await eventually("the redirect", () => Promise.resolve(killed.log().includes("in force") || undefined));
      const pid = Number(/in force (\d+)/.exec(killed.log())?.[1]);
      process.kill(killed.pid, "SIGKILL");
      await killed.stop();
      expect(isRedirected(pid)).toBe(true);
      expect(own(killed.pid)).not.toEqual([]);
      const next = await openRedirect();
      await eventually("it has ended", () => Promise.resolve(isRunning(pid) ? undefined : true));
      expect(own(killed.pid)).toEqual([]);
      await next.close();
      expect(own(process.pid)).toEqual([]);
    }));
});

function isRedirected(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cgroup`, "utf8").includes("isthmus_run_");
}

/** One that has ended and was not waited for by its parent yet has ended all the same. */
function isRunning(pid: number): boolean {
  const state = /^State:\s+(\S)/m.exec(
    existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, "utf8") : "",
  );
  return state !== null && state[1] !== "Z";
}
