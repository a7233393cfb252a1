// What the translation means for connections: TCP, servers that speak first, WebSocket, headless services, weights, black holes,
// and which connections live through a change. Real Envoys in network namespaces, as in call.envoy.test.ts.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually, findEnvoy, skipReason, start, type Running } from "./testing/envoy.ts";
import { networkMissing, type Pod } from "./testing/network.ts";
import { openWorld, served, underLoad, type Member, type World } from "./testing/world.ts";

const west = "{ cluster: west, gateways: [{ host: 10.1.0.3, port: 15443 }] }";
const newService = "- { name: new, vips: [10.96.0.99], ports: [{ port: 80, local: [{ address: 10.1.0.2 }] }] }";

function front(more = ""): string {
  return `
proxy: { kind: sidecar, namespace: shop, serviceAccount: front, workloadKind: Deployment, workloadName: front, inbound: [] }
services:
  - name: cart
    scope: fleet
    vips: [10.96.0.20]
    ports: [{ port: 80, identities: [east/shop/cart, west/shop/cart], local: [{ address: 10.1.0.2 }], remote: [${west}] }]
  - name: shared
    scope: fleet
    vips: [10.96.0.21]
    ports:
      - port: 80
        identities: [east/shop/cart, west/shop/cart]
        local: [{ address: 10.1.0.2 }, { address: 10.1.0.9, ready: false }]
        remote: [${west}]
  - { name: far, scope: fleet, vips: [10.96.0.30], ports: [{ port: 80, identities: [west/shop/cart], remote: [${west}] }] }
  - { name: echo, scope: fleet, vips: [10.96.0.31], ports: [{ port: 7, protocol: tcp, identities: [west/shop/cart], remote: [${west}] }] }
  - { name: denied, vips: [10.96.0.32], ports: [{ port: 7, protocol: tcp, local: [{ address: 10.1.0.2, port: 7 }] }] }
  - { name: mail, vips: [10.96.0.33], ports: [{ port: 25, protocol: tcp-server-first, local: [{ address: 10.1.0.2, port: 25 }] }] }
  - { name: pods, headless: true, vips: [10.1.0.2], ports: [{ port: 8080, local: [{ address: 10.1.0.2 }] }] }
  ${more}
grants: [{ name: front-to-cart, from: [east/shop/front], to: shop/cart }]
`;
}

interface ServerChange {
  readonly grants?: string;
  readonly revoked?: string;
  readonly permissive?: boolean;
}

function cart(cluster: string, change: ServerChange = {}): string {
  const ports =
    "[{ port: 7, protocol: tcp }, { port: 25, protocol: tcp-server-first }, { port: 8080, protocol: http }]";
  return `
cluster: ${cluster}
proxy: { kind: sidecar, namespace: shop, serviceAccount: cart, workloadKind: Deployment, workloadName: cart, inbound: ${ports} }
permissive: ${change.permissive ?? false}
revoked: ${change.revoked ?? "[]"}
grants: ${change.grants ?? "[{ name: front, from: [east/shop/front], to: shop/cart, tcp: true }]"}
`;
}

const httpAndMail =
  "[{ name: http, from: [east/shop/front], to: shop/cart }, { name: mail, from: [east/shop/front], to: shop/cart, ports: [25], tcp: true }]";

function gateway(peers: string): string {
  const pod = "endpoints: [{ address: 10.1.0.4 }]";
  return `
cluster: west
proxy: { kind: gateway }
peers: ${peers}
exportPorts:
  - { service: cart, port: 80, ${pod} }
  - { service: shared, port: 80, ${pod} }
  - { service: far, port: 80, ${pod} }
  - { service: echo, port: 7, endpoints: [{ address: 10.1.0.4, port: 7 }] }
`;
}

// generous: on a busy machine a proxy takes seconds to start; what has a bar asserts it itself
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const found = findEnvoy();
const reason = "missing" in found ? found.missing : skipReason(networkMissing());
/** Envoy's own, which would be the next to notice; how soon it is noticed is the bench's. */
const ROUTE_TIMEOUT_MS = 15_000;
let world: World;
const servers: Running[] = [];

function node(member: Member, ...args: readonly string[]): Running {
  const [script = "", ...rest] = args;
  return start(member.pod.inside([process.execPath, join(import.meta.dirname, "testing", script), ...rest]));
}

function says(running: Running, text: string | RegExp, deadlineMs = 20_000): Promise<unknown> {
  const has = () => (typeof text === "string" ? running.log().includes(text) : text.test(running.log()));
  return eventually(`"${String(text)}" is said`, () => Promise.resolve(has() ? true : undefined), deadlineMs);
}

/** Nothing goes in or out, and nobody is told: the machine is gone. */
function blackHole(pod: Pod, action: "-I" | "-D"): void {
  for (const chain of ["INPUT", "OUTPUT"]) {
    const [program = "", ...args] = pod.inside(["iptables", action, chain, "-o", "eth0", "-j", "DROP"]);
    const incoming = args.map((arg) => (chain === "INPUT" && arg === "-o" ? "-i" : arg));
    execFileSync(program, incoming);
  }
}

/** Runs `during` on a connection of `front` that echoes, then closes it. */
async function withEcho(during: (client: Running) => Promise<void>): Promise<void> {
  const client = node(world.front, "tcp-client.mjs", "10.96.0.31", "7");
  try {
    client.write("hello\n");
    await says(client, '"hello\\n"');
    await during(client);
  } finally {
    await client.stop();
  }
}

describe.skipIf(reason !== undefined)("connections between real Envoys", () => {
  beforeAll(async () => {
    if (!("path" in found)) return;
    world = await openWorld(found.path);
    const { front: caller, cartEast, cartWest, gatewayWest, outsider } = world;
    caller.configure(front());
    cartEast.configure(cart("east", { grants: httpAndMail }));
    cartWest.configure(cart("west"));
    gatewayWest.configure(gateway("[east, north]"));
    servers.push(node(cartEast, "tcp-application.mjs", "7"), node(cartEast, "tcp-application.mjs", "25", "220 ready"));
    servers.push(node(cartWest, "tcp-application.mjs", "7"), node(cartEast, "application.mjs", "9999", "undeclared"));
    await Promise.all([
      ...[caller, cartEast, cartWest, gatewayWest].map((member) => member.startProxy()),
      cartEast.startApplication("east"),
      cartWest.startApplication("west"),
      outsider.startApplication("outsider", "0.0.0.0"),
      ...servers.map((server) => says(server, "listening")),
    ]);
  });

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await (world as World | undefined)?.stop();
  });

  it("TCP goes through the gateways where a grant speaks of it, and is closed where none does", async () => {
    await withEcho(() => Promise.resolve());
    const denied = node(world.front, "tcp-client.mjs", "10.96.0.32", "7");
    denied.write("hello\n");
    await says(denied, "closed");
    expect(denied.log()).not.toContain("data");
    await denied.stop();
  });

  it("a server that speaks first is heard at once: nothing waits for the client's first byte", async () => {
    const before = await world.front.stat("listener.outbound.downstream_pre_cx_timeout");
    const client = node(world.front, "tcp-client.mjs", "10.96.0.33", "25");
    await says(client, "220 ready");
    await client.stop();
    expect(await world.front.stat("listener.outbound.downstream_pre_cx_timeout")).toBe(before);
  });

  it("a WebSocket stays one from application to application", async () => {
    const upgrade =
      "GET /chat HTTP/1.1\r\nhost: far\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAA\r\n\r\n";
    const client = node(world.front, "tcp-client.mjs", "10.96.0.30", "80");
    client.write(upgrade);
    await says(client, "101 Switching");
    client.write("over and over");
    await says(client, '"over and over"');
    await client.stop();
  });

  it("a pod of a headless service is called by its own address, over mutual TLS", async () => {
    const { status, text } = await world.front.answered("http://10.1.0.2:8080/items");
    expect(status).toBe(200);
    expect(text).toContain("URI=spiffe://east.acme.mesh/ns/shop/sa/front");
  });

  it("half the capacity ready here, half the requests go to the other cluster", async () => {
    // again and again: a gateway whose handshake a busy machine delayed is left alone for a while
    await eventually(
      "the other cluster has its half",
      async () => {
        const { byName } = await underLoad(world.front, "http://10.96.0.21/items", () => served(world.front, 400));
        const { west: there = 0, east: here = 0 } = byName;
        // five standard deviations of that many draws at one half
        return Math.abs(there - here) / 2 < 5 * Math.sqrt((there + here) / 4) || undefined;
      },
      90_000,
    );
  });

  it("a connection lives through changes that are not about it", async () => {
    await withEcho(async (client) => {
      world.front.configure(front(newService));
      world.cartWest.configure(
        cart("west", {
          grants:
            "[{ name: front, from: [east/shop/front], to: shop/cart, tcp: true }, { name: more, from: [north/shop/x], to: shop/cart }]",
        }),
      );
      world.gatewayWest.configure(gateway("[east]"));
      await eventually("the new service answers", async () =>
        (await world.front.curl("http://10.96.0.99/")).status === 200 ? true : undefined,
      );
      // longer than the drain time of these proxies (2 s)
      await eventually("drains are over", async () =>
        (await world.gatewayWest.stat("listener_manager.total_filter_chains_draining")) === 0 ? true : undefined,
      );
      client.write("still there\n");
      await says(client, "still there");
      expect(client.log()).not.toContain("closed");
      world.front.configure(front());
    });
  });

  it("cutting a peer off at the gateway ends its connections", async () => {
    await withEcho(async (client) => {
      world.gatewayWest.configure(gateway("[north]"));
      await says(client, "closed");
      await eventually("requests get there no more", async () =>
        (await world.front.curl("http://10.96.0.30/items")).status === 503 ? true : undefined,
      );
    });
    world.gatewayWest.configure(gateway("[east, north]"));
    await eventually("the peer is back", async () =>
      (await world.front.curl("http://10.96.0.30/items")).status === 200 ? true : undefined,
    );
  });

  it("a revoked trust domain is refused whatever is granted to it: requests on open connections, and every new one", async () => {
    expect((await world.front.answered("http://10.96.0.30/items")).status).toBe(200);
    world.cartWest.configure(cart("west", { revoked: "[east.acme.mesh]" }));
    await eventually("east is refused", async () =>
      (await world.front.curl("http://10.96.0.30/items")).status === 403 ? true : undefined,
    );
    const client = node(world.front, "tcp-client.mjs", "10.96.0.31", "7");
    client.write("hello\n");
    await says(client, "closed");
    expect(client.log()).not.toContain("data");
    await client.stop();
    world.cartWest.configure(cart("west"));
    await eventually("east is back", async () =>
      (await world.front.curl("http://10.96.0.30/items")).status === 200 ? true : undefined,
    );
  });

  it("nobody else's connection notices that a member is revoked: no listener changes, only who may connect", async () => {
    const modified = () => world.cartWest.stat("listener_manager.listener_modified");
    const trusts = () => world.cartWest.stat(".*server_ssl_socket_factory.ssl_context_update_by_sds");
    await withEcho(async (client) => {
      const before = [await modified(), await trusts()] as const;
      world.cartWest.configure(cart("west", { revoked: "[north.acme.mesh, eastern.acme.mesh]" }));
      await eventually("the callers' trust is another", async () => ((await trusts()) > before[1] ? true : undefined));
      expect(await modified()).toBe(before[0]);
      client.write("still there\n");
      await says(client, "still there");
      await withEcho(() => Promise.resolve());
    });
    world.cartWest.configure(cart("west"));
  });

  it("permissive mode serves callers without a sidecar, and switching it fails no request", async () => {
    const outside = async (port: number) => (await world.outsider.answered(`http://10.1.0.2:${port}/items`)).status;
    expect([await outside(8080), await outside(9999)]).toEqual([403, 403]);
    const load = await underLoad(world.front, "http://10.96.0.20/items", async () => {
      world.cartEast.configure(cart("east", { permissive: true }));
      await eventually("outsiders are served", async () =>
        (await outside(8080)) === 200 && (await outside(9999)) === 200 ? true : undefined,
      );
      expect((await world.outsider.answered("--http2-prior-knowledge", "http://10.1.0.2:8080/")).text).toContain(
        '"httpVersion":"2.0"',
      );
      world.cartEast.configure(cart("east", { grants: httpAndMail }));
      await eventually("outsiders are refused", async () =>
        (await outside(8080)) === 403 && (await outside(9999)) === 403 ? true : undefined,
      );
    });
    expect(load.errors).toEqual([]);
    expect(load.ok).toBeGreaterThan(0);
  });

  it("in permissive mode pods without a sidecar take their share in plaintext", async () => {
    const half = "local: [{ address: 10.1.0.2 }, { address: 10.1.0.5, meshed: false }]";
    const service = `- { name: half, vips: [10.96.0.98], ports: [{ port: 80, ${half} }] }`;
    world.front.configure(`permissive: true\n${front(service)}`);
    const answers = async () => ((await world.front.curl("http://10.96.0.98/items")).status === 200 ? true : undefined);
    await eventually("the service answers", answers);
    const { byName, errors } = await underLoad(world.front, "http://10.96.0.98/items", () => served(world.front, 100));
    world.front.configure(front());
    expect(errors).toEqual([]);
    expect(Object.keys(byName).sort()).toEqual(["east", "outsider"]);
  });

  it("a machine that vanishes without a word costs no request that may be sent again, and TCP is reset", async () => {
    await withEcho(async (client) => {
      blackHole(world.gatewayWest.pod, "-I");
      client.write("anyone\n");
      await says(client, "closed");
      blackHole(world.gatewayWest.pod, "-D");
    });
    const load = await underLoad(world.front, "http://10.96.0.20/items", async () => {
      blackHole(world.cartEast.pod, "-I");
      const { pod } = world.cartEast;
      await eventually("the other cluster serves", async () =>
        (await world.front.curl("http://10.96.0.20/items")).text.includes('"west"') ? true : undefined,
      );
      blackHole(pod, "-D");
    });
    expect(load.errors).toEqual([]);
    expect(load.byName["west"]).toBeGreaterThan(0);
    expect(load.slowestMs).toBeLessThan(ROUTE_TIMEOUT_MS);
  });
});
