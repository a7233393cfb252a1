// TrafficSplits on real Envoys: three workloads of a site, one of which calls the two others as the versions of one service. One site for
// all sentences; each leaves it as it was found.
import { mkdtempSync, rmSync } from "node:fs";
import { Agent } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ownGround } from "../../shared/testing/ground.ts";
import { BoundMember } from "./testing/bound-member.ts";
import { testFleet } from "./testing/certificates.ts";
import { eventually, findEnvoy, start, type Running } from "./testing/envoy.ts";
import { fleetDomain } from "./testing/mesh-case.ts";

const ground = await ownGround();
const { net } = ground;
const RANGE = `${net}.0.0`;
const [FRONT, V1, V2] = [`${net}.16.0`, `${net}.32.0`, `${net}.48.0`];
const URL = "http://cart.shop:8080/items";

const services = `
services:
  - { name: cart, vips: [${net}.0.1], ports: [{ port: 8080 }, { port: 5432, protocol: tcp }] }
  - name: v1
    vips: [${net}.0.2]
    ports: [{ port: 8080, local: [{ address: ${V1}, serviceAccount: v1 }] }, { port: 5432, protocol: tcp, local: [{ address: ${V1}, port: 9000, serviceAccount: v1 }] }]
  - name: v2
    vips: [${net}.0.3]
    ports: [{ port: 8080, local: [{ address: ${V2}, serviceAccount: v2 }] }, { port: 5432, protocol: tcp, local: [{ address: ${V2}, port: 9000, serviceAccount: v2 }] }]
`;
const grant = (version: string) => `
  - { name: ${version}, from: [east/shop/front], to: shop/${version} }
  - { name: ${version}-tcp, from: [east/shop/front], to: shop/${version}, ports: [9000], http: [], tcp: true }`;
const bothGranted = `grants:${grant("v1")}${grant("v2")}`;

function split(v1: number, v2: number, more = ""): string {
  const backends = `backends: { cluster/shop/v1: ${v1}, cluster/shop/v2: ${v2} }`;
  const ports = `ports: [{ port: 8080, ${backends} }, { port: 5432, ${backends} }]`;
  return `splits: [{ root: cluster/shop/cart, ${more} ${ports} }]`;
}

// generous: on a busy machine a proxy takes seconds to start
vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
let dir = "";
const processes: Running[] = [];
let members: readonly BoundMember[] = [];
let front: BoundMember;

async function program(file: string, ...args: readonly string[]): Promise<void> {
  const running = start([process.execPath, join(import.meta.dirname, "testing", file), ...args]);
  processes.push(running);
  await eventually(`${file} listens`, () => Promise.resolve(running.log().includes("listening") || undefined));
}

function configure(change: string, grants = bothGranted): void {
  for (const member of members) member.configure(`${services}\n${grants}\n${change}`);
}

interface Tally {
  readonly v1: number;
  readonly v2: number;
  readonly refused: number;
  readonly failed: number;
}

/** `next` is asked after every answer whether to go on. */
async function tallied(next: (count: number) => boolean, url = URL): Promise<Tally> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const tally = { v1: 0, v2: 0, refused: 0, failed: 0 };
  let count = 0;
  const ask = async () => {
    while (next(count)) {
      count += 1;
      const { status, text } = await front
        .requestBy(agent, url)
        .catch((error: unknown) => ({ status: 0, text: String(error) }));
      if (status === 403) tally.refused += 1;
      else if (status !== 200) tally.failed += 1;
      else tally[(JSON.parse(text) as { name: "v1" | "v2" }).name] += 1;
    }
  };
  await Promise.all(Array.from({ length: 4 }, ask));
  agent.destroy();
  return tally;
}

const times = (most: number) => (count: number) => count < most;

async function untilServedBy(...versions: readonly ("v1" | "v2")[]): Promise<void> {
  await eventually(`${versions.join(" and ")} serve, and no other`, async () => {
    const tally = await tallied(times(24));
    return (["v1", "v2"] as const).every((version) => tally[version] > 0 === versions.includes(version)) || undefined;
  });
}

/** A TCP connection to the root, and the version that greeted it. */
function connection(): Promise<{ readonly socket: Socket; readonly version: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(5432, `${net}.16.1`);
    socket.setTimeout(20_000, () => socket.destroy(new Error("no greeting")));
    socket.on("error", reject);
    socket.once("data", (greeting: Buffer) => resolve({ socket, version: greeting.toString().trim() }));
  });
}

function echoed(socket: Socket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once("data", (answer: Buffer) => resolve(answer.toString()));
    socket.once("close", () => reject(new Error("closed")));
    socket.write(text);
  });
}

describe.skipIf(envoy === "")("a split of a service", () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "isthmus-split-"));
    const fleet = testFleet(dir, fleetDomain);
    const member = (name: string, block: string, http = 0, tcp = 0) => {
      const applications = [
        { port: 8080, address: "127.0.0.1", applicationPort: http },
        { port: 9000, address: "127.0.0.1", applicationPort: tcp },
      ];
      const bound = {
        applications: http === 0 ? [] : applications,
        inboundAddresses: [block],
        httpProxy: { address: block, port: 15001 },
        loopback: { rangeStart: RANGE, blockStart: block },
        lowestPort: 1024,
      };
      return new BoundMember({ name, bound, dir, envoy, trust: fleet.svid("east", "shop", name) });
    };
    front = member("front", FRONT);
    const [http1, tcp1, http2, tcp2] = await Promise.all([ground.port(), ground.port(), ground.port(), ground.port()]);
    members = [front, member("v1", V1, http1, tcp1), member("v2", V2, http2, tcp2)];
    configure(split(1, 0));
    await Promise.all([
      ...members.map((one) => one.startProxy()),
      program("application.mjs", String(http1), "v1"),
      program("tcp-application.mjs", String(tcp1), "v1"),
      program("application.mjs", String(http2), "v2"),
      program("tcp-application.mjs", String(tcp2), "v2"),
    ]);
  });

  afterAll(async () => {
    const proxies = members.flatMap(({ proxy }) => proxy ?? []);
    await Promise.all([...processes, ...proxies].map((running) => running.stop()));
    rmSync(dir, { recursive: true, force: true });
  });

  it("sends nothing to a weight of 0", async () => {
    expect(await tallied(times(60))).toEqual({ v1: 60, v2: 0, refused: 0, failed: 0 });
  });

  it("divides requests by its weights, and loses none while they change", async () => {
    let done = false;
    const load = tallied(() => !done);
    for (const [v1, v2] of [
      [1, 1],
      [1, 3],
      [0, 1],
    ] as const) {
      configure(split(v1, v2));
      await untilServedBy(...(v1 === 0 ? (["v2"] as const) : (["v1", "v2"] as const)));
    }
    done = true;
    const { v1, v2, ...others } = await load;
    expect(others).toEqual({ refused: 0, failed: 0 });
    expect(Math.min(v1, v2)).toBeGreaterThan(0);
    configure(split(1000, 500));
    await untilServedBy("v1", "v2");
    const share = (await tallied(times(1800))).v1 / 1800;
    // a third to v2; five standard deviations of 1,800 draws
    expect(Math.abs(share - 2 / 3)).toBeLessThan(5 * Math.sqrt(2 / 9 / 1800));
    configure(split(1, 0));
    await untilServedBy("v1");
  });

  it("fails over inside the share of a version: an endpoint that is gone costs no request, and the other version nothing", async () => {
    const gone = `{ address: ${net}.64.0, serviceAccount: v2 }`;
    const withGone = services.replace(
      `ports: [{ port: 8080, local: [{ address: ${V2}`,
      `ports: [{ port: 8080, local: [${gone}, { address: ${V2}`,
    );
    expect(withGone).not.toBe(services);
    for (const member of members) member.configure(`${withGone}\n${bothGranted}\n${split(1, 1)}`);
    await untilServedBy("v1", "v2");
    const { v1, v2, ...others } = await tallied(times(400));
    expect(others).toEqual({ refused: 0, failed: 0 });
    expect(Math.min(v1, v2)).toBeGreaterThan(100);
    configure(split(1, 0));
    await untilServedBy("v1");
  });

  it("leaves a TCP connection that is open where it is, and sends the next one by the new weights", async () => {
    const kept = await connection();
    expect(kept.version).toBe("v1");
    configure(split(0, 1));
    await eventually("new connections go to v2", async () => {
      const { socket, version } = await connection();
      socket.destroy();
      return version === "v2" || undefined;
    });
    expect(await echoed(kept.socket, "still here")).toBe("still here");
    kept.socket.destroy();
    configure(split(1, 0));
    await untilServedBy("v1");
  });

  it("with matches takes what matches, by all of a match's headers; the rest goes to the root", async () => {
    const own = services.replace("{ port: 8080 }", `{ port: 8080, local: [{ address: ${V1}, serviceAccount: v1 }] }`);
    const match = `matches: [{ headers: [{ name: user-agent, valueRegex: ".*Firefox.*" }, { name: x-test, valueRegex: "yes" }] }],`;
    for (const member of members) member.configure(`${own}\n${bothGranted}\n${split(0, 1, match)}`);
    const served = async (...headers: readonly string[]) => {
      const { text } = await front.byProxy(URL, ...headers.flatMap((header) => ["-H", header]));
      return (JSON.parse(text) as { name: string }).name;
    };
    const firefox = "user-agent: Mozilla/5.0 Firefox/140.0";
    await eventually(
      "Firefox is served by v2",
      async () => (await served(firefox, "x-test: yes")) === "v2" || undefined,
    );
    expect(await served(firefox)).toBe("v1");
    expect(await served("x-test: yes")).toBe("v1");
    expect(await served(firefox, "x-test: yes, no")).toBe("v1");
    configure(split(1, 0));
    await untilServedBy("v1");
  });

  it("grants nothing: the share of a version that the caller may not call is answered 403 by that version", async () => {
    configure(split(1, 1), `grants:${grant("v1")}`);
    await eventually("v2 refuses its share", async () => (await tallied(times(24))).refused > 0 || undefined);
    const { v1, v2, refused, failed } = await tallied(times(400));
    expect({ v2, failed }).toEqual({ v2: 0, failed: 0 });
    expect(Math.min(v1, refused)).toBeGreaterThan(100);
    await eventually("the caller's own sidecar knows it too", async () => {
      const { text } = await front.byProxy("http://v2.shop:8080/items");
      return text.includes("no route to this destination") || undefined;
    });
    configure(split(1, 0));
    await untilServedBy("v1");
  });
});
