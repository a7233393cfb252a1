// The ADS server over real gRPC connections: who is let in, what is answered, when a stream ends.
import { credentials, ServerCredentials, status } from "@grpc/grpc-js";
import { connect as tlsConnect } from "node:tls";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock, type Clock } from "../../shared/clock.ts";
import { ok } from "../../shared/result.ts";
import { testFleet } from "../xds/testing/certificates.ts";
import { createSwappableCredentials } from "./credentials.ts";
import type { AdsServerDeps } from "./server.ts";
import { anIdentity, classKey, startAgent, type TestAgent } from "./testing/agent.ts";
import { connect, type ClientOptions, type TestClient } from "./testing/client.ts";
import { aCluster, aListener, aMesh, anAssignment, aSnapshot, type Lists } from "./testing/resources.ts";

let agent: TestAgent;
const clients: TestClient[] = [];

async function serve(lists: Lists | undefined, deps: Partial<AdsServerDeps> = {}): Promise<void> {
  agent = await startAgent(ServerCredentials.createInsecure(), {
    onClass: ({ wanted, proxyClass }) => {
      agent.wanted.push(`${wanted ? "+" : "-"}${proxyClass.key}`);
      if (wanted && lists !== undefined) setImmediate(() => agent.server.publish(proxyClass.key, aSnapshot(lists)));
    },
    ...deps,
  });
  agent.server.open();
}

function client(options: ClientOptions = {}): TestClient {
  const made = connect(agent.port, options);
  clients.push(made);
  return made;
}

/** An event that has no promise of its own, looked at once per turn. */
async function until(what: string, holds: () => boolean, deadlineMs = 5_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

afterEach(async () => {
  for (const one of clients.splice(0)) one.close();
  await agent.stop();
});

describe("a delta stream", () => {
  it("gets clusters, their endpoints, and only what changes afterwards", async () => {
    await serve(aMesh(["cart", "pay"]));
    const envoy = client();
    envoy.send("cds");
    const clusters = await envoy.next();
    expect(clusters).toMatchObject({ type: "cds", names: ["cart", "pay"], removed: [] });
    envoy.ack(clusters);
    envoy.send("eds", { resource_names_subscribe: ["cart", "pay"] });
    const endpoints = await envoy.next();
    expect(endpoints.names).toEqual(["cart", "pay"]);
    envoy.ack(endpoints);
    const changed = { ...aMesh(["cart", "pay"]), eds: [anAssignment("cart", [80]), anAssignment("pay", [81, 82])] };
    agent.server.publish(classKey, aSnapshot(changed));
    expect(await envoy.next()).toMatchObject({ type: "eds", names: ["pay"], removed: [] });
  });

  it("gets the endpoints of a cluster that is sent, changed or not", async () => {
    await serve(aMesh(["cart"]));
    const envoy = client();
    envoy.send("cds");
    envoy.ack(await envoy.next());
    envoy.send("eds", { resource_names_subscribe: ["cart"] });
    envoy.ack(await envoy.next());
    agent.server.publish(classKey, aSnapshot(aMesh(["cart"], "3s")));
    expect(await envoy.next()).toMatchObject({ type: "cds", names: ["cart"] });
    expect(await envoy.next()).toMatchObject({ type: "eds", names: ["cart"] });
  });

  it("sends routes to a new cluster after the cluster is acknowledged, and removes a cluster after its last route", async () => {
    await serve(aMesh(["cart"]));
    const envoy = client();
    envoy.send("cds");
    envoy.ack(await envoy.next());
    envoy.send("rds", { resource_names_subscribe: ["routes"] });
    envoy.ack(await envoy.next());
    agent.server.publish(classKey, aSnapshot(aMesh(["pay"])));
    const added = await envoy.next();
    expect(added).toMatchObject({ type: "cds", names: ["pay"], removed: [] });
    expect(await envoy.silent(50)).toBe(true);
    envoy.ack(added);
    const routed = await envoy.next();
    expect(routed).toMatchObject({ type: "rds", names: ["routes"] });
    expect(await envoy.silent(50)).toBe(true);
    envoy.ack(routed);
    expect(await envoy.next()).toMatchObject({ type: "cds", names: [], removed: ["cart"] });
  });

  it("is told that a name does not exist", async () => {
    await serve(aMesh(["cart"]));
    const envoy = client();
    envoy.send("eds", { resource_names_subscribe: ["gone"] });
    expect(await envoy.next()).toMatchObject({ type: "eds", names: [], removed: ["gone"] });
  });

  it("is sent nothing after a reconnect when it has everything", async () => {
    await serve(aMesh(["cart"]));
    const envoy = client();
    envoy.send("cds");
    const { message } = await envoy.next();
    const [resource] = message["resources"] as readonly { readonly version: string }[];
    envoy.close();
    await until("the old stream is gone", () => agent.server.counters().streams === 0);
    const again = client();
    again.send("cds", { initial_resource_versions: { cart: resource?.version ?? "" } });
    await until("the new one is served", () => agent.server.classes().some((one) => one.served !== undefined));
    expect(await again.silent(100)).toBe(true);
    agent.server.publish(classKey, aSnapshot(aMesh(["cart", "pay"])));
    expect((await again.next()).names).toEqual(["pay"]);
  });
});

describe("a state-of-the-world stream", () => {
  it("is sent all clusters when one changes, and only the endpoints that changed", async () => {
    await serve(aMesh(["cart", "pay"]));
    const grpc = client({ protocol: "sotw" });
    grpc.send("cds");
    const clusters = await grpc.next();
    expect(clusters.names).toEqual(["cart", "pay"]);
    grpc.ack(clusters);
    grpc.send("eds", { resource_names: ["cart", "pay"] });
    const endpoints = await grpc.next();
    expect(endpoints.names).toEqual(["cart", "pay"]);
    grpc.ack(endpoints, { resource_names: ["cart", "pay"] });
    const next = { ...aMesh(["cart", "pay"]), cds: [aCluster("cart", "9s"), aCluster("pay")] };
    agent.server.publish(classKey, aSnapshot(next));
    const again = await grpc.next();
    expect(again).toMatchObject({ type: "cds", names: ["cart", "pay"] });
    expect(await grpc.next()).toMatchObject({ type: "eds", names: ["cart"] });
  });

  it("is not answered to a stale nonce", async () => {
    await serve(aMesh(["cart"]));
    const grpc = client({ protocol: "sotw" });
    grpc.send("eds", { resource_names: ["cart"] });
    const first = await grpc.next();
    grpc.ack(first, { resource_names: ["cart"] });
    agent.server.publish(classKey, aSnapshot({ ...aMesh(["cart"]), eds: [anAssignment("cart", [99])] }));
    const second = await grpc.next();
    // still about the first response: void, whatever it asks for
    grpc.ack(first, { resource_names: ["cart", "other"] });
    expect(await grpc.silent(50)).toBe(true);
    grpc.ack(second, { resource_names: ["cart"] });
    await until("the acknowledgement counts", () => agent.acks.length === 2);
  });

  it("reports a refusal with its text", async () => {
    await serve(aMesh(["cart"]));
    const grpc = client({ protocol: "sotw" });
    grpc.send("cds");
    grpc.nack(await grpc.next(), "cart: too strange");
    await until("the refusal is reported", () => agent.nacks.length === 1);
    expect(agent.nacks[0]).toMatchObject({ type: "cds", errorText: "cart: too strange", culprit: { name: "cart" } });
    expect(await grpc.silent(50)).toBe(true);
  });
});

describe("a refused resource", () => {
  const good = aMesh(["cart"]);
  const bad: Lists = { ...good, lds: [aListener("outbound", "routes", "bad"), aListener("second", "routes")] };

  it("stays at its last good version for every stream of the class, new ones too, until it changes", async () => {
    await serve(good);
    const envoy = client();
    envoy.send("lds");
    envoy.ack(await envoy.next());
    agent.server.publish(classKey, aSnapshot(bad));
    const poisoned = await envoy.next();
    expect(poisoned.names).toEqual(["outbound", "second"]);
    envoy.nack(poisoned, "Error adding/updating listener(s) outbound: no");
    const rest = await envoy.next();
    expect(rest.names).toEqual(["second"]);
    envoy.ack(rest);
    const alone = await envoy.next();
    expect(alone.names).toEqual(["outbound"]);
    envoy.nack(alone, "Error adding/updating listener(s) outbound: no");
    expect(await envoy.silent(50)).toBe(true);
    expect(agent.server.counters().quarantined).toBe(1);
    expect(agent.server.refusals()).toMatchObject([{ type: "lds", name: "outbound", nodeId: undefined }]);

    const newcomer = client();
    newcomer.send("lds");
    const { message } = await newcomer.next();
    expect(JSON.stringify(message)).not.toContain('"stat_prefix":"bad"');
    expect(JSON.stringify(message)).toContain('"stat_prefix":"outbound"');

    agent.server.publish(classKey, aSnapshot({ ...bad, lds: [aListener("outbound", "routes", "mended")] }));
    expect((await envoy.next()).names).toEqual(["outbound"]);
    expect(agent.server.counters().quarantined).toBe(0);
  });

  it("is kept from one stream alone when others of the class accept it", async () => {
    await serve(good);
    const [one, other] = [client(), client()];
    for (const envoy of [one, other]) {
      envoy.send("lds");
      envoy.ack(await envoy.next());
    }
    agent.server.publish(classKey, aSnapshot({ ...good, lds: [aListener("outbound", "routes", "odd")] }));
    one.ack(await one.next());
    await until("the acceptance counts", () => agent.acks.length === 3);
    other.nack(await other.next(), "outbound: not with me");
    await until("the refusal counts", () => agent.nacks.length === 1);
    expect(agent.server.counters().quarantined).toBe(0);
    expect(await other.silent(50)).toBe(true);
    expect(agent.server.refusals()).toMatchObject([
      { name: "outbound", errorText: "outbound: not with me", nodeId: "sidecar~front-1.shop" },
    ]);
  });
});

describe("a stream", () => {
  it("waits until the agent has complete data", async () => {
    agent = await startAgent(ServerCredentials.createInsecure());
    const envoy = client();
    envoy.send("cds");
    await until("the stream is known", () => agent.server.counters().streams === 1);
    agent.server.publish(classKey, aSnapshot(aMesh(["cart"])));
    expect(await envoy.silent(50)).toBe(true);
    agent.server.open();
    expect((await envoy.next()).names).toEqual(["cart"]);
  });

  it.each<readonly [string, ClientOptions, number]>([
    ["without a token", { token: "" }, status.UNAUTHENTICATED],
    ["with a wrong token", { token: "forged" }, status.UNAUTHENTICATED],
    ["of another pod", { node: "sidecar~pay-1.shop" }, status.PERMISSION_DENIED],
    ["of another namespace", { node: "sidecar~front-1.bank" }, status.PERMISSION_DENIED],
    ["of no form that we know", { node: "front-1" }, status.PERMISSION_DENIED],
  ])("is refused %s", async (_what, options, code) => {
    await serve(aMesh(["cart"]));
    const envoy = client(options);
    envoy.send("cds");
    expect((await envoy.ended()).code).toBe(code);
    expect(envoy.received).toEqual([]);
    expect(agent.server.counters().streams).toBe(0);
  });

  it("is told to come back when the token cannot be checked", async () => {
    await serve(aMesh(["cart"]), { authenticate: () => Promise.reject(new Error("API server away")) });
    const envoy = client();
    envoy.send("cds");
    expect((await envoy.ended()).code).toBe(status.UNAVAILABLE);
  });

  it("ends before its token expires, without an error, and its class is let go", async () => {
    const sleeps: number[] = [];
    let expire = () => undefined as unknown;
    const clock: Clock = {
      now: () => anIdentity.expiresAtMs - 1_000_000,
      sleep: (ms, signal) => {
        if (ms === 0) return systemClock.sleep(0, signal);
        sleeps.push(ms);
        return new Promise((resolve) => (expire = () => resolve()));
      },
    };
    await serve(aMesh(["cart"]), { clock });
    const envoy = client();
    envoy.send("cds");
    await envoy.next();
    expect(sleeps).toEqual([900_000]);
    expire();
    expect((await envoy.ended()).code).toBe(status.OK);
    await until("the class is let go", () => agent.wanted.length === 2);
    expect(agent.wanted).toEqual(["+all", "-all"]);
  });

  it("ends when its pod is deleted", async () => {
    await serve(aMesh(["cart"]));
    const envoy = client();
    envoy.send("cds");
    await envoy.next();
    agent.server.endPod("another");
    expect(agent.server.counters().streams).toBe(1);
    agent.server.endPod(anIdentity.podUid);
    expect((await envoy.ended()).code).toBe(status.OK);
    expect(agent.server.counters().streams).toBe(0);
  });

  it("waits for its class, and moves to another when its pod changes", async () => {
    let key: string | undefined;
    await serve(undefined, {
      classify: () => (key === undefined ? undefined : { key, proxy: { kind: "gateway" } }),
    });
    const envoy = client();
    envoy.send("cds");
    await until("the stream is known", () => agent.server.counters().streams === 1);
    key = "first";
    agent.server.reclassify();
    agent.server.publish("first", aSnapshot(aMesh(["cart"])));
    envoy.ack(await envoy.next());
    key = "second";
    agent.server.reclassify();
    agent.server.publish("second", aSnapshot(aMesh(["cart", "pay"])));
    expect((await envoy.next()).names).toEqual(["pay"]);
    expect(agent.wanted).toEqual(["+first", "+second", "-first"]);
  });

  it("ends at bytes that are no request, and no other stream notices", async () => {
    await serve(aMesh(["cart"]));
    const fine = client();
    fine.send("cds");
    fine.ack(await fine.next());
    const broken = client();
    broken.send("cds", { node: { id: "sidecar~front-1.shop" } });
    await broken.next();
    broken.sendRaw(Buffer.from([0x0a, 0xff]));
    expect((await broken.ended()).code).toBe(status.INVALID_ARGUMENT);
    agent.server.publish(classKey, aSnapshot(aMesh(["cart", "pay"])));
    expect((await fine.next()).names).toEqual(["pay"]);
  });
});

describe("a client that does not read", () => {
  it("delays no other, and is brought to the newest version when it reads again", async () => {
    await serve(aMesh(["cart"]));
    const [slow, quick] = [client(), client()];
    for (const envoy of [slow, quick]) {
      envoy.send("cds");
      envoy.ack(await envoy.next());
    }
    slow.pause();
    const names = Array.from({ length: 300 }, (_, index) => `service-${index}`);
    let seconds = 0;
    for (let push = 1; push <= 40; push += 1) {
      seconds = push;
      agent.server.publish(classKey, aSnapshot(aMesh(names, `${seconds}s`)));
      quick.ack(await quick.next());
    }
    const sentToSlow = agent.sent.length - quick.received.length;
    expect(sentToSlow).toBeLessThanOrEqual(2);
    slow.resume();
    slow.ack(await slow.next());
    const { message } = await slow.next();
    expect(JSON.stringify(message)).toContain(`"connect_timeout":"${seconds}s"`);
  });
});

describe("the serving certificate", () => {
  it("is replaced for new connections while running streams go on", async () => {
    const dir = mkdtempSync(join(tmpdir(), "isthmus-tls-"));
    const fleet = testFleet(dir, "acme.mesh");
    const identity = () => fleet.svid("east", "isthmus-system", "isthmus-agent");
    const tls = createSwappableCredentials(identity());
    agent = await startAgent(tls.credentials, {
      onClass: () => setImmediate(() => agent.server.publish(classKey, aSnapshot(aMesh(["cart"])))),
    });
    agent.server.open();
    const roots = Buffer.from(fleet.rootsPem);
    const trusting = credentials.createSsl(roots, null, null, { checkServerIdentity: () => undefined });
    const serial = () =>
      new Promise<string>((resolve, reject) => {
        const socket = tlsConnect(
          {
            host: "127.0.0.1",
            port: agent.port,
            ca: roots,
            ALPNProtocols: ["h2"],
            checkServerIdentity: () => undefined,
          },
          () => {
            resolve(socket.getPeerX509Certificate()?.serialNumber ?? "");
            socket.destroy();
          },
        ).on("error", reject);
      });
    try {
      const envoy = client({ tls: trusting });
      envoy.send("cds");
      envoy.ack(await envoy.next());
      const before = await serial();
      tls.replace(identity());
      expect(await serial()).not.toBe(before);
      agent.server.publish(classKey, aSnapshot(aMesh(["cart", "pay"])));
      expect((await envoy.next()).names).toEqual(["pay"]);
      expect(() => tls.replace({ chainPem: "nonsense", keyPem: "nonsense" })).toThrow();
      expect(await serial()).not.toBe("");
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

describe("an agent that stops", () => {
  it("ends its streams one after the other", async () => {
    const slept: number[] = [];
    const clock: Clock = {
      now: () => Date.now(),
      sleep: (ms, signal) => {
        if (ms > 10_000) return new Promise(() => undefined);
        slept.push(ms);
        return systemClock.sleep(Math.min(ms, 5), signal);
      },
    };
    await serve(aMesh(["cart"]), { clock });
    const envoys = [client(), client()];
    for (const envoy of envoys) {
      envoy.send("cds");
      await envoy.next();
    }
    const stopping = agent.server.close(1_000);
    for (const envoy of envoys) expect((await envoy.ended()).code).toBe(status.OK);
    await stopping;
    expect(slept).toEqual([500, 500]);
  });
});

it("lets a token's owner be any account: what it may see is its class", async () => {
  await serve(aMesh(["cart"]), {
    authenticate: () => Promise.resolve(ok({ ...anIdentity, podName: "pay-1", serviceAccount: "pay" })),
    classify: (peer) => ({ key: peer.serviceAccount, proxy: { kind: "gateway" } }),
  });
  const envoy = client({ node: "sidecar~pay-1.shop" });
  envoy.send("rds", { resource_names_subscribe: ["routes"] });
  expect((await envoy.next()).names).toEqual(["routes"]);
  expect(agent.server.classes().map((one) => one.key)).toEqual(["pay"]);
});
