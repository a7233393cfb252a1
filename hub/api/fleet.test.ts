// The hub as an agent meets it: join, publish and watch over real gRPC and TLS, on a real Redis.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { rm } from "node:fs/promises";
import { systemClock } from "../../shared/clock.ts";
import type { WatchEvent, WireRecord } from "../../shared/grpc/fleet-messages.ts";
import { parseClusterName } from "../../shared/ids.ts";
import { generateKeyPem } from "../../shared/pki/key.ts";
import { buildRequest } from "../../shared/pki/x509-builder.ts";
import { openAuthority } from "../ca/authority.ts";
import {
  anonymousClient,
  clientOf,
  codeOf,
  joinAgent,
  joinRequest,
  makeDataDir,
  newKeys,
  type Keys,
  publish,
  startTestHub,
  watch,
  type TestAgent,
  type TestHub,
} from "../testing/hub.ts";

let hub: TestHub;
beforeAll(async () => {
  hub = await startTestHub();
}, 180_000);
afterAll(() => hub.stop());

function capacity(cluster: string, name: string, ready = 1): WireRecord {
  return { cluster, kind: "capacity", capacity: { namespace: "shop", name, ports: [{ port: 80, ready, total: 9 }] } };
}

const isSynced = (event: WatchEvent) => event.event === "synced";
const readyIn = (event: WatchEvent | undefined) =>
  event?.event === "change" && event.change.op === "put" && event.change.put.kind === "capacity"
    ? event.change.put.capacity.ports[0]?.ready
    : undefined;

/** A write is acknowledged when it is on disk; the hub's own view of it follows a moment later. */
async function heard(agent: TestAgent, fits: (event: WatchEvent) => boolean): Promise<void> {
  const watching = watch(agent);
  await watching.nextUntil(fits);
  watching.cancel();
}

describe("joining", () => {
  it("gives certificates for the token's cluster and the signed bundle", async () => {
    const { reply } = await joinAgent(hub, "join-a");
    expect(reply).toMatchObject({ cluster: "join-a", fleetDomain: "acme.mesh", accepted: true });
    expect(reply.agentChainDer).toHaveLength(1);
    expect(reply.clusterCaChainDer).toHaveLength(1);
    expect(reply.bundle?.rootsDer).toHaveLength(1);
  });

  it("answers the same keys again, so that a lost reply strands nobody, and no other keys", async () => {
    const token = await hub.tokenFor("join-b");
    const client = anonymousClient(hub.address);
    const mine = await joinRequest(token, newKeys());
    expect((await client.join(mine)).cluster).toBe("join-b");
    expect((await client.join(mine)).cluster).toBe("join-b");
    expect(await codeOf(client.join(await joinRequest(token, newKeys())))).toBe("ISTHMUS_TOKEN_USED");
    client.close();
  });

  it("lets exactly one of many concurrent redeemers win", async () => {
    const token = await hub.tokenFor("join-race");
    const client = anonymousClient(hub.address);
    const requests = await Promise.all(Array.from({ length: 20 }, () => joinRequest(token, newKeys())));
    const codes = await Promise.all(requests.map((request) => codeOf(client.join(request))));
    expect(codes.filter((code) => code === "no error")).toHaveLength(1);
    expect(new Set(codes)).toEqual(new Set(["no error", "ISTHMUS_TOKEN_USED"]));
    client.close();
  });

  it("says no more than 'unknown' to who does not hold the secret", async () => {
    const client = anonymousClient(hub.address);
    const request = await joinRequest(await hub.tokenFor("join-c"), newKeys());
    expect(await codeOf(client.join({ ...request, tokenSecret: Buffer.alloc(32) }))).toBe("ISTHMUS_TOKEN_UNKNOWN");
    expect(await codeOf(client.join({ ...request, tokenId: "0123456789abcdef" }))).toBe("ISTHMUS_TOKEN_UNKNOWN");
    client.close();
  });

  it("tells the holder of an expired token that it has expired", async () => {
    const answer = await hub.operator("POST", "/v1/tokens", { cluster: "join-d", ttlMs: 1_000 });
    await new Promise((resolve) => setTimeout(resolve, Number(answer["expiresAtMs"]) - Date.now() + 5));
    const client = anonymousClient(hub.address);
    expect(await codeOf(client.join(await joinRequest(String(answer["token"]), newKeys())))).toBe(
      "ISTHMUS_TOKEN_EXPIRED",
    );
    client.close();
  });

  it("refuses a key that another cluster uses, and a request without proof of possession", async () => {
    const { keys } = await joinAgent(hub, "join-e");
    const client = anonymousClient(hub.address);
    const token = await hub.tokenFor("join-f");
    expect(await codeOf(client.join(await joinRequest(token, keys)))).toBe("ISTHMUS_TOKEN_WRONG_CLUSTER");
    const request = await joinRequest(token, newKeys());
    const broken = Buffer.from(request.agentCsrDer);
    broken[broken.length - 1]! ^= 1;
    expect(await codeOf(client.join({ ...request, agentCsrDer: broken }))).toMatch(/^ISTHMUS_CSR/);
    expect(await codeOf(client.join({ ...request, agentCsrDer: Buffer.alloc(100_000) }))).not.toBe("no error");
    client.close();
  });

  it("lets a member join again with new keys only by a rejoin token; then the old keys are worth nothing", async () => {
    const old = await joinAgent(hub, "join-g");
    const refused = hub.operator("POST", "/v1/tokens", { cluster: "join-g" });
    await expect(refused).rejects.toMatchObject({ code: "ISTHMUS_CLUSTER_TAKEN" });
    const client = anonymousClient(hub.address);
    const keys = newKeys();
    const reply = await client.join(await joinRequest(await hub.tokenFor("join-g", true), keys));
    client.close();
    const renewed = clientOf(hub.address, keys, reply.agentChainDer);
    expect(await codeOf(renewed.report(aReport()))).toBe("no error");
    expect(await codeOf(old.client.report(aReport()))).toBe("ISTHMUS_AGENT_KEY_REPLACED");
  });

  it("renews with a new key and keeps the old one good until the new one is in use", async () => {
    const agent = await joinAgent(hub, "join-h");
    const keys = newKeys();
    const { agentCsrDer } = await joinRequest(await hub.tokenFor("join-i"), keys);
    const reply = await agent.client.renew({ agentCsrDer, clusterCaCsrDer: Buffer.alloc(0) });
    expect(reply.clusterCaChainDer).toHaveLength(0);
    expect(await codeOf(agent.client.report(aReport()))).toBe("no error");
    const renewed = clientOf(hub.address, keys, reply.agentChainDer);
    expect(await codeOf(renewed.report(aReport()))).toBe("no error");
  });
});

function aReport() {
  return {
    agentVersion: "test",
    pod: "agent-0",
    bundleSequence: 1,
    appliedRevision: 0,
    proxies: 0,
    gatewaysReady: 0,
    servicesExported: 0,
    servicesImported: 0,
    clusterCaNotAfterMs: 0,
    agentNotAfterMs: 0,
    problems: [],
  };
}

const both = (keyPem: string) => ({ agentKeyPem: keyPem, clusterCaKeyPem: keyPem });

describe("a renewal", () => {
  let asked = 0;
  it.each<[string, (keys: Keys) => { agentKeyPem: string; clusterCaKeyPem?: string }]>([
    ["one new key for both", () => both(generateKeyPem())],
    ["the cluster CA's key as the agent's", ({ clusterCaKeyPem }) => ({ agentKeyPem: clusterCaKeyPem })],
    [
      "the cluster CA's key as the agent's, with a new one for the cluster CA",
      ({ clusterCaKeyPem }) => ({ agentKeyPem: clusterCaKeyPem, clusterCaKeyPem: generateKeyPem() }),
    ],
    [
      "the agent's key as the cluster CA's",
      ({ agentKeyPem }) => ({ agentKeyPem: generateKeyPem(), clusterCaKeyPem: agentKeyPem }),
    ],
  ])("that asks for %s gets nothing, and the member goes on with what it has", async (_what, ask) => {
    const agent = await joinAgent(hub, `two-keys-${(asked += 1)}`);
    const { agentKeyPem, clusterCaKeyPem } = ask(agent.keys);
    const request = {
      agentCsrDer: await buildRequest(agentKeyPem),
      clusterCaCsrDer: clusterCaKeyPem === undefined ? Buffer.alloc(0) : await buildRequest(clusterCaKeyPem),
    };
    expect(await codeOf(agent.client.renew(request))).toBe("ISTHMUS_CSR_KEY");
    const good = { agentCsrDer: await buildRequest(generateKeyPem()), clusterCaCsrDer: Buffer.alloc(0) };
    expect((await agent.client.renew(good)).agentChainDer).toHaveLength(1);
    agent.client.close();
  });
});

describe("who may call", () => {
  it("refuses a caller without a certificate of the fleet for everything but joining", async () => {
    const client = anonymousClient(hub.address);
    expect(await codeOf(client.report(aReport()))).toBe("ISTHMUS_AGENT_CERTIFICATE");
    client.close();
  });

  it("refuses a certificate that names a member but comes from another root", async () => {
    const { keys } = await joinAgent(hub, "who-a");
    const foreignDir = await makeDataDir();
    const foreign = await openAuthority(foreignDir, systemClock);
    const cluster = parseClusterName("who-a");
    const chain = await foreign.issueAgent(
      cluster.ok ? cluster.value : ("" as never),
      await buildRequest(keys.agentKeyPem),
    );
    const stranger = clientOf(hub.address, keys, chain.ok ? chain.value : []);
    expect(await codeOf(stranger.report(aReport()))).toBe("ISTHMUS_AGENT_CERTIFICATE");
    await rm(foreignDir, { recursive: true });
  });

  it("refuses a member's cluster CA certificate: it is no agent's", async () => {
    const { keys, reply } = await joinAgent(hub, "who-b");
    const asCa = clientOf(hub.address, { ...keys, agentKeyPem: keys.clusterCaKeyPem }, reply.clusterCaChainDer);
    expect(await codeOf(asCa.report(aReport()))).toBe("ISTHMUS_AGENT_CERTIFICATE");
  });
});

describe("publishing and watching", () => {
  let west: TestAgent;
  let east: TestAgent;
  beforeAll(async () => {
    west = await joinAgent(hub, "west");
    east = await joinAgent(hub, "east");
  });

  it("sends a full list, then every change of the other members, and never a member's own", async () => {
    const westOut = publish(west);
    westOut.send({ puts: [capacity("west", "cart", 1)], synced: true });
    const listed = await westOut.next();
    expect(listed).toMatchObject({ sequence: 1, problems: [] });
    await heard(east, (event) => readyIn(event) === 1);

    const eastIn = watch(east);
    const list = await eastIn.nextUntil(isSynced);
    expect(list[0]?.event).toBe("bundle");
    expect(list[1]).toMatchObject({ event: "resync" });
    expect(list.map(readyIn)).toContain(1);

    // a bookmark, the proof of life, may come between any two
    const nextChange = async () => (await eastIn.nextUntil(({ event }) => event === "change")).at(-1);
    westOut.send({ puts: [capacity("west", "cart", 2)] });
    expect(readyIn(await nextChange())).toBe(2);
    const eastOut = publish(east);
    eastOut.send({ puts: [capacity("east", "own", 1)], synced: true });
    await eastOut.next();
    westOut.send({ deleteKeys: ["west/capacity/shop/cart"] });
    expect(await nextChange()).toMatchObject({ change: { op: "deleteKey", deleteKey: "west/capacity/shop/cart" } });
    for (const stream of [westOut, eastOut, eastIn]) stream.cancel();
  });

  it("resumes from a cursor without a list, and lists for a cursor of another life", async () => {
    const first = watch(east);
    const synced = (await first.nextUntil(isSynced)).at(-1);
    first.cancel();
    const mark = synced?.event === "synced" ? synced.synced : undefined;
    const westOut = publish(west, "session-2");
    westOut.send({ puts: [capacity("west", "cart", 3)], synced: true });
    await westOut.next();
    await heard(east, (event) => readyIn(event) === 3);
    const resumed = watch(east, mark);
    const events = await resumed.nextUntil(isSynced);
    expect(events.map(({ event }) => event)).toEqual(["bundle", "change", "synced"]);
    const other = watch(east, { incarnation: "other", revision: mark!.revision });
    expect((await other.nextUntil(isSynced))[1]).toMatchObject({ resync: { reason: "other-incarnation" } });
    for (const stream of [westOut, resumed, other]) stream.cancel();
  });

  it("takes the good records of a batch and names the others", async () => {
    const out = publish(west, "session-3");
    out.send({
      puts: [
        capacity("west", "good"),
        capacity("east", "stolen"),
        {
          cluster: "west",
          kind: "gateway",
          gateway: { addresses: [{ host: "127.0.0.1", port: 1 }], region: "", zone: "" },
        },
        capacity("west", "Bad_Name"),
      ],
      deleteKeys: ["east/capacity/shop/own"],
    });
    const { problems } = await out.next();
    expect(problems.map(({ code }) => code).sort()).toEqual([
      "ISTHMUS_GATEWAY_ADDRESS",
      "ISTHMUS_RECORD",
      "ISTHMUS_RECORD_FOREIGN",
      "ISTHMUS_RECORD_FOREIGN",
    ]);
    out.cancel();
  });

  it("deletes what a restarted publisher no longer names, only when its full set has ended", async () => {
    const before = publish(west, "session-4");
    before.send({ puts: [capacity("west", "stays"), capacity("west", "goes")], synced: true });
    await before.next();
    before.cancel();
    const eastIn = watch(east);
    await eastIn.nextUntil(isSynced);
    const after = publish(west, "session-5");
    after.send({ puts: [capacity("west", "stays", 4)] });
    await after.next();
    after.send({ synced: true });
    const events = await eastIn.nextUntil((event) => event.event === "change" && event.change.op === "deleteKey");
    expect(events.map(readyIn)).toContain(4);
    expect(events.at(-1)).toMatchObject({ change: { deleteKey: "west/capacity/shop/goes" } });
    for (const stream of [after, eastIn]) stream.cancel();
  });

  it("fences the older of two publishers", async () => {
    // a member of its own: a cancelled stream of `west` may still hold the fence for the moment that its release takes
    const twice = await joinAgent(hub, "twice");
    const older = publish(twice, "older", 1_000);
    older.send({ puts: [capacity("twice", "cart")] });
    await older.next();
    const newer = publish(twice, "newer", 2_000);
    newer.send({ puts: [capacity("twice", "cart", 5)] });
    await newer.next();
    older.send({ puts: [capacity("twice", "cart", 6)] });
    expect(await codeOf(older.next())).toBe("ISTHMUS_PUBLISHER_FENCED");
    newer.cancel();
  });

  it("acknowledges every batch in order though it writes many at once", async () => {
    const out = publish(west, "session-6");
    const sequences = Array.from({ length: 300 }, (_, at) =>
      out.send({ puts: [capacity("west", `s${at % 7}`, at % 9)] }),
    );
    const acks = [];
    for (const sequence of sequences) {
      const ack = await out.next();
      expect(ack.sequence).toBe(sequence);
      acks.push(ack.revision);
    }
    expect(acks).toEqual([...acks].sort((a, b) => a - b));
    out.cancel();
  });
});

describe("the operator", () => {
  it("sees clusters, their reports and the services of the fleet", async () => {
    const agent = await joinAgent(hub, "seen");
    await agent.client.report({ ...aReport(), proxies: 3 });
    const out = publish(agent);
    out.send({
      puts: [
        {
          cluster: "seen",
          kind: "service",
          service: {
            namespace: "shop",
            name: "cart",
            exportedAtMs: 1,
            type: "ClusterSetIP",
            ports: [{ name: "http", port: 80, protocol: "TCP", appProtocol: "http" }],
            serviceAccounts: ["cart"],
          },
        },
        capacity("seen", "cart", 2),
      ],
      synced: true,
    });
    await out.next();
    const status = await hub.operator("GET", "/v1/status");
    expect(status).toMatchObject({ fleetDomain: "acme.mesh", redis: "connected", restored: false });
    const clusters = status["clusters"] as { cluster: string; state: string; proxies: number }[];
    expect(clusters.find(({ cluster }) => cluster === "seen")).toMatchObject({ state: "connected", proxies: 3 });
    await vi.waitFor(async () => {
      const { services } = await hub.operator("GET", "/v1/services");
      expect(services).toEqual([
        { namespace: "shop", name: "cart", clusters: [{ cluster: "seen", ports: [{ port: 80, ready: 2, total: 9 }] }] },
      ]);
    }, 15_000);
    out.cancel();
  });

  it("has health, readiness and metrics over HTTP", async () => {
    expect((await fetch(`${hub.http}/healthz`)).status).toBe(200);
    expect((await fetch(`${hub.http}/readyz`)).status).toBe(200);
    const metrics = await (await fetch(`${hub.http}/metrics`)).text();
    expect(metrics).toMatch(/isthmus_hub_redis_connected 1/);
    expect(metrics).toMatch(/isthmus_hub_joins_total\{result="used"\} \d+/);
  });
});
