// Who can write to Redis, and nothing else, against a real hub: no key is swapped, nobody is let in, no revocation is undone, no
// root is added, and nothing older than the hub has seen comes back.
import { Redis } from "ioredis";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseJoinToken } from "../../shared/join-token.ts";
import { bundleStatement, type TrustBundle } from "../../shared/pki/bundle.ts";
import { isBundleSigned } from "../../shared/pki/bundle-signature.ts";
import { spkiOfKeyPem, spkiPin } from "../../shared/pki/key.ts";
import {
  anonymousClient,
  clientOf,
  codeOf,
  joinAgent,
  joinRequest,
  newKeys,
  startTestHub,
  watch,
  type TestAgent,
  type TestHub,
} from "../testing/hub.ts";

const records = "isthmus:{acme.mesh}:records";
const tokenKey = (text: string) => {
  const token = parseJoinToken(text);
  return `isthmus:{acme.mesh}:token:${token.ok ? token.value.id : ""}`;
};
const field = (cluster: string) => `!member/${cluster}`;

let hub: TestHub;
let redis: Redis;

function openRedis(of: TestHub): Redis {
  return new Redis({ path: join(of.dataDir, "redis", "redis.sock") });
}

beforeAll(async () => {
  hub = await startTestHub();
  redis = openRedis(hub);
}, 180_000);

afterAll(async () => {
  redis.disconnect();
  await hub.stop();
});

/** "no error" when the hub takes the agent's calls. */
async function standing(agent: TestAgent): Promise<string> {
  const watching = watch(agent);
  return codeOf(watching.next()).finally(() => watching.cancel());
}

async function bundleSeenBy(agent: TestAgent): Promise<TrustBundle> {
  const watching = watch(agent);
  const events = await watching.nextUntil(({ event }) => event === "bundle");
  watching.cancel();
  const last = events.at(-1);
  if (last?.event !== "bundle") throw new Error("no bundle");
  return last.bundle;
}

async function redeem(text: string, keys = newKeys()): Promise<{ readonly code: string; readonly cluster?: string }> {
  const client = anonymousClient(hub.address);
  const reply = client.join(await joinRequest(text, keys));
  const code = await codeOf(reply);
  client.close();
  return code === "no error" ? { code, cluster: (await reply).cluster } : { code };
}

const pinOf = (keyPem: string) => spkiPin(spkiOfKeyPem(keyPem));
const revisionOf = (stored: string) => stored.slice(0, stored.indexOf(" "));
const textOf = (stored: string) => stored.slice(stored.indexOf(" ") + 1);

describe("a record of a member that somebody writes", () => {
  it("swaps no key: the member's own stays good, the other one is nobody's", async () => {
    const honest = await joinAgent(hub, "swap-a");
    const stored = (await redis.hget(records, field("swap-a"))) ?? "";
    const thief = { ...honest, keys: newKeys() };
    const swapped = textOf(stored).replaceAll(pinOf(honest.keys.agentKeyPem), pinOf(thief.keys.agentKeyPem));
    expect(swapped).not.toBe(textOf(stored));
    await redis.hset(records, field("swap-a"), `${revisionOf(stored)} ${swapped}`);
    expect(await standing(honest)).toBe("no error");
    const metrics = await (await fetch(`${hub.http}/metrics`)).text();
    expect(metrics).toContain("isthmus_hub_tampered_members");
  });

  it("brings no replaced key back, though it once bore the hub's seal", async () => {
    const before = await joinAgent(hub, "swap-b");
    const stored = (await redis.hget(records, field("swap-b"))) ?? "";
    const keys = newKeys();
    const client = anonymousClient(hub.address);
    const reply = await client.join(await joinRequest(await hub.tokenFor("swap-b", true), keys));
    client.close();
    const after = { ...before, keys, client: clientOf(hub.address, keys, reply.agentChainDer) };
    await redis.hset(records, field("swap-b"), stored);
    expect(await standing(before)).toBe("ISTHMUS_AGENT_KEY_REPLACED");
    expect(await standing(after)).toBe("no error");
  });

  it("accepts nobody who waits to be accepted", async () => {
    const made = await hub.operator("POST", "/v1/tokens", { cluster: "wait-a", mustBeAccepted: true });
    const keys = newKeys();
    const client = anonymousClient(hub.address);
    const request = await joinRequest(String(made["token"]), keys);
    expect(await client.join(request)).toMatchObject({ accepted: false });
    const stored = (await redis.hget(records, field("wait-a"))) ?? "";
    await redis.hset(records, field("wait-a"), stored.replace('"pending"', '"accepted"'));
    expect(await client.join(request)).toMatchObject({ accepted: false, clusterCaChainDer: [] });
    client.close();
  });

  it("that is deleted takes no member away, and gives its name to nobody", async () => {
    const honest = await joinAgent(hub, "gone-a");
    await redis.hdel(records, field("gone-a"));
    expect(await standing(honest)).toBe("no error");
    await expect(hub.operator("POST", "/v1/tokens", { cluster: "gone-a" })).rejects.toMatchObject({
      code: "ISTHMUS_CLUSTER_TAKEN",
    });
  });
});

describe("a token that somebody changes", () => {
  it.each<[string, Readonly<Record<string, string>>]>([
    ["names another cluster", { cluster: "victim" }],
    ["may replace a member's keys", { rejoin: "1" }],
    ["lives longer", { expiresAtMs: String(Date.now() + 365 * 86_400_000) }],
    ["need not be accepted", { mustBeAccepted: "0" }],
  ])("and then %s is worth nothing", async (what, fields) => {
    const cluster = `token-${Object.keys(fields)[0]?.toLowerCase() ?? what}`;
    const made = await hub.operator("POST", "/v1/tokens", { cluster, mustBeAccepted: true });
    const text = String(made["token"]);
    await redis.hset(tokenKey(text), fields);
    expect(await redeem(text)).toEqual({ code: "ISTHMUS_TOKEN_UNKNOWN" });
  });

  it("and made to look unused is still used: the hub remembers whose it was", async () => {
    const text = await hub.tokenFor("again-a");
    const keys = newKeys();
    expect(await redeem(text, keys)).toMatchObject({ code: "no error" });
    await redis.hdel(tokenKey(text), "agentSpki", "clusterCaSpki", "redeemedAtMs");
    await redis.hdel(records, field("again-a"));
    expect(await redeem(text)).toEqual({ code: "ISTHMUS_TOKEN_USED" });
    expect(await redeem(text, keys)).toMatchObject({ code: "no error" });
  });
});

describe("trust", () => {
  it("is stated by the hub alone: whatever Redis holds, no root is added and no number goes back", async () => {
    const agent = await joinAgent(hub, "trust-a");
    const before = await bundleSeenBy(agent);
    await hub.operator("POST", "/v1/members/trust-a/revoke");
    await hub.operator("POST", "/v1/members/trust-a/reinstate");
    for (const key of await redis.keys("isthmus:*")) {
      if ((await redis.type(key)) === "hash") await redis.hset(key, { bundle: "[]", roots: "evil", sequence: "1" });
    }
    const after = await bundleSeenBy(agent);
    expect(after.rootsDer).toEqual(before.rootsDer);
    expect(after.sequence).toBeGreaterThan(before.sequence);
    expect(isBundleSigned(after)).toBe(true);
    const dump = await Promise.all((await redis.keys("*")).map((key) => redis.dumpBuffer(key)));
    expect(dump.filter((bytes) => bytes.includes(Buffer.from(bundleStatement(after))))).toEqual([]);
  });
});

describe("an older dump of Redis that is put back", () => {
  it("rolls no member back: who joined again since is the member, and its old keys are worth nothing", async () => {
    const first = await startTestHub({}, true);
    const { dataDir } = first;
    const [redisDir, kept] = [join(dataDir, "redis", "appendonlydir"), join(dataDir, "old-redis")];
    const before = await joinAgent(first, "back-a");
    await cp(redisDir, kept, { recursive: true });
    const keys = newKeys();
    const client = anonymousClient(first.address);
    const reply = await client.join(await joinRequest(await first.tokenFor("back-a", true), keys));
    client.close();
    await first.operator("POST", "/v1/members/back-a/revoke");
    await first.operator("POST", "/v1/members/back-a/reinstate");
    await first.stop();
    await rm(redisDir, { recursive: true });
    await cp(kept, redisDir, { recursive: true });

    const second = await startTestHub({ data: dataDir }, true);
    const at = (held: typeof keys, chain: readonly Uint8Array[]) => ({
      ...before,
      client: clientOf(second.address, held, chain),
    });
    expect(await standing(at(before.keys, before.reply.agentChainDer))).toBe("ISTHMUS_AGENT_KEY_REPLACED");
    const member = at(keys, reply.agentChainDer);
    expect(await standing(member)).toBe("no error");
    expect((await bundleSeenBy(member)).sequence).toBe(3);
    expect((await second.operator("GET", "/v1/status"))["restored"]).toBe(true);
    await second.stop();
    await rm(dataDir, { recursive: true });
  }, 120_000);
});
