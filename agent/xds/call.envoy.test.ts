// What the translation means on the wire: calls between real Envoys in network namespaces, redirected as in a pod, with real
// certificates. One world for all sentences; each leaves it as it was found.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually, findEnvoy, skipReason, start } from "./testing/envoy.ts";
import { networkMissing } from "./testing/network.ts";
import { openWorld, served, underLoad, type Member, type World } from "./testing/world.ts";

const FAR = "http://10.96.0.30/items";
const BOTH = "http://10.96.0.20/items";
const LOCAL = "http://10.96.0.10/items";

const front = `
proxy: { kind: sidecar, namespace: shop, serviceAccount: front, workloadKind: Deployment, workloadName: front, inbound: [] }
services:
  - { name: cart, vips: [10.96.0.10], ports: [{ port: 80, local: [{ address: 10.1.0.2 }] }] }
  - name: cart
    scope: fleet
    vips: [10.96.0.20]
    ports:
      - port: 80
        identities: [east/shop/cart, west/shop/cart]
        local: [{ address: 10.1.0.2 }]
        remote: [{ cluster: west, gateways: [{ host: 10.1.0.3, port: 15443 }] }]
  - name: far
    scope: fleet
    vips: [10.96.0.30]
    ports: [{ port: 80, identities: [west/shop/cart], remote: [{ cluster: west, gateways: [{ host: 10.1.0.3, port: 15443 }] }] }]
  - { name: secret, vips: [10.96.0.40], ports: [{ port: 80, local: [{ address: 10.1.0.2, serviceAccount: secret }] }] }
grants: [{ name: front-to-cart, from: [east/shop/front], to: shop/cart }]
`;

function cart(cluster: string, grants: string): string {
  return `
cluster: ${cluster}
proxy: { kind: sidecar, namespace: shop, serviceAccount: cart, workloadKind: Deployment, workloadName: cart, inbound: [{ port: 8080, protocol: http }] }
grants: ${grants}
`;
}

const publicOnly = `[{ name: front-to-cart, from: [east/shop/front], to: shop/cart, http: [{ pathRegex: /items }, { pathRegex: /hang-up }, { pathRegex: /forge }] }]`;

const gateway = `
cluster: west
proxy: { kind: gateway }
peers: [east]
exportPorts:
  - { service: cart, port: 80, endpoints: [{ address: 10.1.0.4 }] }
  - { service: far, port: 80, endpoints: [{ address: 10.1.0.4 }] }
`;

/** Asks again and again on one connection until it is let through, as a client does that keeps connections. */
const keepsItsConnection = {
  "HTTP/1.1": `
    const http = require("node:http");
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ask = () => http.get("${LOCAL}", { agent }, (answer) => {
      answer.resume().on("end", () => (console.log(answer.statusCode), answer.statusCode === 200 || setTimeout(ask, 50)));
    });
    ask();`,
  "HTTP/2": `
    const http2 = require("node:http2");
    let session;
    const ask = () => {
      if (session === undefined || session.closed) session = http2.connect("${LOCAL}").on("error", () => undefined);
      const again = () => setTimeout(ask, 50);
      const stream = session.request({ ":path": "/items" }).on("error", again).on("response", (head) => {
        console.log(head[":status"]);
        if (head[":status"] === 200) process.exit();
        again();
      });
      stream.resume().end();
    };
    ask();`,
};

const plainServer = `require("node:http").createServer((q, r) => r.end("outside")).listen(9000)`;

// generous: on a busy machine a proxy takes seconds to start; what has a bar asserts it itself
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const found = findEnvoy();
const reason = "missing" in found ? found.missing : skipReason(networkMissing());
let world: World;

interface Echo {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly httpVersion: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly hungUp: number;
}

async function echo(member: Member, ...args: readonly string[]): Promise<Echo> {
  const { status, text } = await member.answered(...args);
  expect({ status, text }).toMatchObject({ status: 200 });
  return JSON.parse(text) as Echo;
}

async function answers(url: string, status: number): Promise<true | undefined> {
  return (await world.front.curl(url)).status === status ? true : undefined;
}

describe.skipIf(reason !== undefined)("calls between real Envoys", () => {
  beforeAll(async () => {
    if (!("path" in found)) return;
    world = await openWorld(found.path);
    const { front: caller, cartEast, cartWest, gatewayWest } = world;
    caller.configure(front);
    cartEast.configure(cart("east", publicOnly));
    cartWest.configure(cart("west", publicOnly));
    gatewayWest.configure(gateway);
    await Promise.all([
      ...[caller, cartEast, cartWest, gatewayWest].map((member) => member.startProxy()),
      cartEast.startApplication("east"),
      cartWest.startApplication("west"),
      world.outsider.startApplication("outsider"),
    ]);
  });

  afterAll(async () => {
    await (world as World | undefined)?.stop();
  });

  it("a service that exists only in another cluster answers through its gateway and sees who calls", async () => {
    const seen = await echo(
      world.front,
      FAR,
      "-H",
      "x-forwarded-client-cert: URI=spiffe://east.acme.mesh/ns/shop/sa/admin",
    );
    expect(seen.name).toBe("west");
    expect(seen.headers["x-forwarded-client-cert"]).toMatch(
      /^By=[^,]*;URI=spiffe:\/\/east\.acme\.mesh\/ns\/shop\/sa\/front$/,
    );
    expect(
      Object.keys(seen.headers).filter((name) => name.startsWith("x-isthmus") || name.startsWith("x-envoy")),
    ).toEqual([]);
  });

  it("local pods come before other clusters", async () => {
    for (let request = 0; request < 10; request += 1) expect((await echo(world.front, BOTH)).name).toBe("east");
  });

  it("the application sees the HTTP version that the caller spoke", async () => {
    expect((await echo(world.front, LOCAL)).httpVersion).toBe("1.1");
    expect((await echo(world.front, LOCAL, "--http2-prior-knowledge")).httpVersion).toBe("2.0");
  });

  it.each([
    [
      "a path without a grant",
      "http://10.96.0.10/admin",
      403,
      "no TrafficTarget lets spiffe://east.acme.mesh/ns/shop/sa/front",
    ],
    ["a path with ..", "http://10.96.0.10/items/../admin", 403, "no TrafficTarget"],
    ["a path with ..%2f", "http://10.96.0.10/items/..%2fadmin", 307, ""],
    ["a path with //", "http://10.96.0.10//admin", 403, "no TrafficTarget"],
    ["a service that no grant lets it reach", "http://10.96.0.40/items", 403, "isthmus: no route"],
    ["a port that the service does not have", "http://10.96.0.10:8081/items", 403, "isthmus: no route"],
  ])("%s is refused with the reason", async (_what, url, status, text) => {
    const answer = await world.front.answered(url);
    expect(answer).toMatchObject({ status });
    expect(answer.text).toContain(text);
    if (status === 403) expect(await world.front.answered(url, "--http2-prior-knowledge")).toMatchObject({ status });
  });

  it.each([
    "/items/../admin",
    "/items/%2e%2e/admin",
    "/items/%2E%2E/admin",
    "/items/.%2e/admin",
    "/items/..%2fadmin",
    "/items/..%2Fadmin",
    "/items%2f..%2fadmin",
    "/items/..%5cadmin",
    "/items/..\\admin",
    "/items//../admin",
    "//admin",
    "/./admin",
    "/admin?/items",
    "/admin#/items",
    "/ADMIN/../admin",
    "/items/..;/../admin",
    "/items/%252e%252e/%252e%252e/admin",
  ])("the path %s does not get a request for /admin through", async (path) => {
    const { status, text } = await world.front.answered(`http://10.96.0.10${path}`);
    // 307 sends the caller to the plain form, which is judged anew; what is answered 200 stayed below /items as the application reads it
    expect([200, 307, 400, 403]).toContain(status);
    if (status === 200) expect(new URL(`http://x${(JSON.parse(text) as Echo).path}`).pathname).toMatch(/^\/items/);
  });

  it("a caller without a sidecar is told that it needs one", async () => {
    const answer = await world.outsider.answered("http://10.1.0.4:8080/items");
    expect(answer).toMatchObject({ status: 403 });
    expect(answer.text).toContain("mutual TLS");
    expect(await world.outsider.answered("http://10.1.0.4:9999/items")).toMatchObject({ status: 403 });
  });

  it("where nothing may leave, an address that no service has is answered 403, on a port of others and in every version", async () => {
    world.front.configure(`${front}\negress: { on: false, exceptions: [] }`);
    const unknown = "http://10.96.0.77/items";
    await eventually("nothing leaves", () => answers(unknown, 403));
    for (const url of [unknown, "http://10.96.0.77:4711/items"]) {
      for (const flags of [[], ["--http2-prior-knowledge"], ["--http1.0"]]) {
        const answer = await world.front.answered(url, ...flags);
        expect(answer).toMatchObject({ status: 403, text: expect.stringContaining("isthmus: no route") as string });
      }
    }
    expect((await echo(world.front, LOCAL)).name).toBe("east");
    world.front.configure(front);
    await eventually("it may again", async () => ((await world.front.curl(unknown)).status === 403 ? undefined : true));
  });

  it.each(Object.entries(keepsItsConnection))(
    "a client that was refused and keeps its connection (%s) is let through once it is granted",
    async (_version, program) => {
      world.front.configure(front.replace(/grants: .*/, "grants: []"));
      await eventually("it is refused", () => answers(LOCAL, 403));
      const client = start(world.front.pod.inside([process.execPath, "-e", program]));
      try {
        await eventually("it is refused on its connection", () =>
          Promise.resolve(/403\n/.test(client.log()) || undefined),
        );
        world.front.configure(front);
        await eventually("it is let through", () => Promise.resolve(/200\n/.test(client.log()) || undefined));
      } finally {
        world.front.configure(front);
        await client.stop();
        await eventually("the grant is back", () => answers(LOCAL, 200));
      }
    },
  );

  it("a destination outside the mesh is reached as if there were no mesh", async () => {
    const plain = start(world.gatewayWest.pod.inside([process.execPath, "-e", plainServer]));
    try {
      const answer = await eventually("the outside answers", async () => {
        const said = await world.front.curl("http://10.1.0.3:9000/outside");
        return said.status === 0 ? undefined : said;
      });
      expect(answer).toEqual({ status: 200, text: "outside" });
    } finally {
      await plain.stop();
    }
  });

  it("a POST that its application may have seen is delivered once, a GET is sent again", async () => {
    const delivered = async (...request: readonly string[]): Promise<number> => {
      const before = (await echo(world.front, FAR)).hungUp;
      expect((await world.front.curl(...request)).status).toBe(503);
      return (await echo(world.front, FAR)).hungUp - before;
    };
    expect(await delivered("http://10.96.0.30/hang-up", "-X", "POST", "-d", "pay")).toBe(1);
    expect(await delivered("http://10.96.0.30/forge", "-X", "POST", "-d", "pay")).toBe(1);
    expect(await delivered("http://10.96.0.30/hang-up")).toBe(4);
  });

  it("a POST that never reached its application goes to another cluster", async () => {
    await world.cartEast.application?.stop();
    try {
      expect(await echo(world.front, BOTH, "-X", "POST", "-d", "pay")).toMatchObject({ name: "west", method: "POST" });
      const local = await world.front.curl(LOCAL, "-i");
      expect(local.text).toContain("503");
      expect(local.text).not.toContain("x-isthmus");
    } finally {
      await world.cartEast.startApplication("east");
    }
  });

  it("an open connection obeys a changed policy", async () => {
    try {
      const denied = await underLoad(world.front, LOCAL, async () => {
        await served(world.front, 100);
        world.cartEast.configure(cart("east", "[]"));
        await eventually("the policy is in force", () => answers(LOCAL, 403));
      });
      expect(denied.ok).toBeGreaterThan(0);
      expect(denied.errors.filter((error) => !error.startsWith("403 "))).toEqual([]);
      expect(denied.connections).toBe(4);
    } finally {
      world.cartEast.configure(cart("east", publicOnly));
      await eventually("the grant is back", () => answers(LOCAL, 200));
    }
  });

  it("no request fails when the local pods die: another cluster answers", async () => {
    const { cartEast } = world;
    const result = await underLoad(world.front, BOTH, async () => {
      await served(world.front, 200);
      await Promise.all([cartEast.proxy?.stop(), cartEast.application?.stop()]);
      await served(world.front, 600);
    }).finally(() => Promise.all([cartEast.startProxy(), cartEast.startApplication("east")]));
    expect(result.errors).toEqual([]);
    expect(Object.keys(result.byName).sort()).toEqual(["east", "west"]);
    expect(result.slowestMs).toBeLessThan(15_000); // Envoy's route time-out, which would be the next to notice
  });

  it("the gateway answers peers' probes with its own identity, and closes and counts an unknown SNI", async () => {
    const { outsider, gatewayWest } = world;
    const to = (sni: string, ...args: readonly string[]) =>
      outsider.curl(`https://${sni}:15443/`, "--resolve", `${sni}:15443:10.1.0.3`, "-k", ...args);
    const certificate = ["--cert", join(outsider.dir, "chain.pem"), "--key", join(outsider.dir, "key.pem")];
    expect(await to("health.west.sni.acme.mesh", ...certificate)).toEqual({
      status: 200,
      text: "isthmus: gateway of west.acme.mesh\n",
    });
    expect((await to("health.west.sni.acme.mesh")).status).toBe(0);
    const before = await gatewayWest.stat("listener.gateway.no_filter_chain_match");
    for (const sni of [
      "p80.cart.shop.north.west.sni.acme.mesh",
      "p81.cart.shop.east.west.sni.acme.mesh",
      "sni.acme.mesh",
    ]) {
      expect((await to(sni, ...certificate)).status).toBe(0);
    }
    expect(await gatewayWest.stat("listener.gateway.no_filter_chain_match")).toBe(before + 3);
  });
});
