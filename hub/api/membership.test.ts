// An operator's power over members, on a real hub with a real Redis: two opt-ins, withdrawn tokens, cutting off and taking back.
import { Redis } from "ioredis";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { TrustBundle } from "../../shared/pki/bundle.ts";
import { isBundleSigned } from "../../shared/pki/bundle-signature.ts";
import type { WatchEvent, WireRecord } from "../../shared/grpc/fleet-messages.ts";
import { auditFileName } from "../audit/log.ts";
import {
  anonymousClient,
  clientOf,
  codeOf,
  joinAgent,
  joinRequest,
  makeDataDir,
  newKeys,
  publish,
  startTestHub,
  watch,
  type TestHub,
} from "../testing/hub.ts";

let hub: TestHub;
beforeAll(async () => {
  hub = await startTestHub();
}, 180_000);
afterAll(() => hub.stop());

const change = (cluster: string, verb: string) => hub.operator("POST", `/v1/members/${cluster}/${verb}`);
const token = async (cluster: string, body: object = {}) => hub.operator("POST", "/v1/tokens", { cluster, ...body });
const bundleOf = (event: WatchEvent | undefined): TrustBundle | undefined =>
  event?.event === "bundle" ? event.bundle : undefined;
const revoking = (domain: string) => (event: WatchEvent) =>
  bundleOf(event)?.revokedTrustDomains.includes(domain) === true;

const aGateway = (cluster: string): WireRecord => ({
  cluster,
  kind: "gateway",
  gateway: { addresses: [{ host: "192.0.2.7", port: 15443 }], region: "", zone: "" },
});

async function audited(): Promise<readonly string[]> {
  const { entries } = await hub.operator("GET", "/v1/audit");
  return (entries as readonly { action: string; subject: string }[]).map(
    ({ action, subject }) => `${action} ${subject}`,
  );
}

describe("a token that must be accepted", () => {
  it("gives no certificate until an operator says so, and then to the same keys only", async () => {
    const made = await token("opt-a", { mustBeAccepted: true });
    const keys = newKeys();
    const client = anonymousClient(hub.address);
    const request = await joinRequest(String(made["token"]), keys);
    expect(await client.join(request)).toMatchObject({ accepted: false, agentChainDer: [], clusterCaChainDer: [] });
    expect(await client.join(request)).toMatchObject({ accepted: false });
    await change("opt-a", "accept");
    const reply = await client.join(request);
    expect(reply).toMatchObject({ accepted: true, cluster: "opt-a" });
    expect(await codeOf(client.join(await joinRequest(String(made["token"]), newKeys())))).toBe("ISTHMUS_TOKEN_USED");
    const agent = { cluster: "opt-a", keys, reply, client: clientOf(hub.address, keys, reply.agentChainDer) };
    const watching = watch(agent);
    await watching.nextUntil(({ event }) => event === "synced");
    watching.cancel();
    client.close();
  });

  it("gives none to a cluster that is rejected, and its name is free again", async () => {
    const made = await token("opt-b", { mustBeAccepted: true });
    const client = anonymousClient(hub.address);
    const request = await joinRequest(String(made["token"]), newKeys());
    await client.join(request);
    await change("opt-b", "reject");
    expect(await codeOf(client.join(request))).toBe("ISTHMUS_MEMBER_LEFT");
    await joinAgent(hub, "opt-b");
    client.close();
  });
});

describe("a token", () => {
  it("that was withdrawn joins nobody, and the list says so", async () => {
    const made = await token("list-a");
    const used = await joinAgent(hub, "list-b");
    await hub.operator("POST", `/v1/tokens/${String(made["id"])}/withdraw`);
    const client = anonymousClient(hub.address);
    expect(await codeOf(client.join(await joinRequest(String(made["token"]), newKeys())))).toBe(
      "ISTHMUS_TOKEN_WITHDRAWN",
    );
    const { tokens } = await hub.operator("GET", "/v1/tokens");
    const states = (tokens as readonly { cluster: string; state: string }[]).map(({ cluster, state }) => [
      cluster,
      state,
    ]);
    expect(states).toContainEqual(["list-a", "withdrawn"]);
    expect(states).toContainEqual([used.cluster, "redeemed"]);
    expect(JSON.stringify(tokens)).not.toContain("hmac");
    client.close();
  });

  it("that was redeemed cannot be withdrawn: the member is to be revoked", async () => {
    await joinAgent(hub, "list-c");
    const { tokens } = await hub.operator("GET", "/v1/tokens");
    const id = (tokens as readonly { cluster: string; id: string }[]).find(({ cluster }) => cluster === "list-c")?.id;
    await expect(hub.operator("POST", `/v1/tokens/${id ?? ""}/withdraw`)).rejects.toMatchObject({
      code: "ISTHMUS_TOKEN_UNKNOWN",
    });
  });
});

describe("a revoked member", () => {
  it("loses its streams at once, and every other member hears of it in a signed bundle with a higher number", async () => {
    const [cut, other] = [await joinAgent(hub, "cut-a"), await joinAgent(hub, "cut-b")];
    const watching = watch(other);
    const before = bundleOf((await watching.nextUntil(({ event }) => event === "bundle")).at(-1));
    const itsWatch = watch(cut);
    await itsWatch.nextUntil(({ event }) => event === "synced");
    const publishing = publish(cut);
    publishing.send({ synced: true });
    await publishing.next();

    const startedMs = performance.now();
    await change("cut-a", "revoke");
    const heard = bundleOf((await watching.nextUntil(revoking("cut-a.acme.mesh"))).at(-1));
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    if (before === undefined || heard === undefined) throw new Error("no bundle");
    expect(heard.sequence).toBeGreaterThan(before.sequence);
    expect(isBundleSigned(heard)).toBe(true);
    const ended = async (stream: { next(): Promise<unknown> }) => {
      for (;;) await stream.next();
    };
    expect(await codeOf(ended(itsWatch))).toBe("ISTHMUS_MEMBER_REVOKED");
    expect(await codeOf(ended(publishing))).toBe("ISTHMUS_MEMBER_REVOKED");
    expect(await codeOf(watch(cut).next())).toBe("ISTHMUS_MEMBER_REVOKED");
    watching.cancel();
  });

  it("cannot come back by a token, not by one of before either", async () => {
    await joinAgent(hub, "cut-c");
    const early = await hub.tokenFor("cut-c", true);
    await change("cut-c", "revoke");
    const client = anonymousClient(hub.address);
    expect(await codeOf(client.join(await joinRequest(early, newKeys())))).toBe("ISTHMUS_MEMBER_REVOKED");
    await expect(token("cut-c", { rejoin: true })).rejects.toMatchObject({ code: "ISTHMUS_MEMBER_REVOKED" });
    client.close();
  });

  it("is let in again with its own keys when the revocation is undone", async () => {
    const agent = await joinAgent(hub, "cut-d");
    await change("cut-d", "revoke");
    await change("cut-d", "reinstate");
    const watching = watch(agent);
    const events = await watching.nextUntil(({ event }) => event === "synced");
    expect(events.map(bundleOf).find((bundle) => bundle !== undefined)?.revokedTrustDomains).not.toContain(
      "cut-d.acme.mesh",
    );
    watching.cancel();
  });

  it("stays revoked when its record in Redis is written back: the signed word decides", async () => {
    const agent = await joinAgent(hub, "cut-e");
    const redis = new Redis({ path: join(hub.dataDir, "redis", "redis.sock") });
    const [key, field] = ["isthmus:{acme.mesh}:records", "!member/cut-e"];
    const before = await redis.hget(key, field);
    await change("cut-e", "revoke");
    await redis.hset(key, field, before ?? "");
    redis.disconnect();
    expect(await codeOf(watch(agent).next())).toBe("ISTHMUS_MEMBER_REVOKED");
  });

  it("must be one: unknown names and wrong states are refused with what to do", async () => {
    await expect(change("nobody", "revoke")).rejects.toMatchObject({ code: "ISTHMUS_MEMBER_UNKNOWN" });
    await joinAgent(hub, "cut-f");
    await expect(change("cut-f", "reject")).rejects.toMatchObject({ code: "ISTHMUS_MEMBER_STATE" });
    await expect(change("cut-f", "promote")).rejects.toMatchObject({ code: "ISTHMUS_API" });
  });
});

describe("a member that leaves", () => {
  const records = async (cluster: string) => {
    const redis = new Redis({ path: join(hub.dataDir, "redis", "redis.sock") });
    const keys = await redis.hkeys("isthmus:{acme.mesh}:records");
    redis.disconnect();
    return keys.filter((key) => key.startsWith(`${cluster}/`));
  };

  /** Although its name rests. */
  const joinAgain = async (cluster: string) => {
    const made = await token(cluster, { trustFormer: true });
    return joinAgent(hub, cluster, String(made["token"]));
  };

  it("takes its records with it, is trusted by nobody any more, and its streams end", async () => {
    const [leaver, other] = [await joinAgent(hub, "leave-a"), await joinAgent(hub, "leave-b")];
    const watching = watch(other);
    const publishing = publish(leaver);
    publishing.send({ puts: [aGateway("leave-a")], synced: true });
    await publishing.next();
    expect(await records("leave-a")).toEqual(["leave-a/gateway"]);

    expect(await change("leave-a", "leave")).toMatchObject({ state: "left" });
    await watching.nextUntil(revoking("leave-a.acme.mesh"));
    await watching.nextUntil(
      (event) =>
        event.event === "change" && event.change.op === "deleteKey" && event.change.deleteKey === "leave-a/gateway",
    );
    expect(await records("leave-a")).toEqual([]);
    expect(await codeOf(watch(leaver).next())).toBe("ISTHMUS_MEMBER_LEFT");
    expect(await audited()).toContain("member.leave leave-a");
    watching.cancel();
  });

  it("leaves a name that rests: nobody gets it while certificates of before could be used", async () => {
    await joinAgent(hub, "rest-a");
    const early = await hub.tokenFor("rest-a", true);
    await change("rest-a", "leave");
    await expect(token("rest-a")).rejects.toMatchObject({ code: "ISTHMUS_NAME_RESTS" });
    await expect(token("rest-a", { rejoin: true })).rejects.toMatchObject({ code: "ISTHMUS_NAME_RESTS" });
    const client = anonymousClient(hub.address);
    const withEarly = await joinRequest(early, newKeys());
    expect(await codeOf(client.join(withEarly))).toBe("ISTHMUS_NAME_RESTS");
    const other = await joinAgent(hub, "rest-b");
    expect(other.reply.bundle?.revokedTrustDomains).toContain("rest-a.acme.mesh");

    // an operator's word opens the name to that token alone
    const opened = await token("rest-a", { trustFormer: true });
    expect(await codeOf(client.join(withEarly))).toBe("ISTHMUS_NAME_RESTS");
    await expect(token("rest-a")).rejects.toMatchObject({ code: "ISTHMUS_NAME_RESTS" });
    expect(await client.join(await joinRequest(String(opened["token"]), newKeys()))).toMatchObject({ accepted: true });
    expect(await codeOf(client.join(withEarly))).toBe("ISTHMUS_TOKEN_WITHDRAWN");
    await change("rest-a", "leave");
    await expect(token("rest-a")).rejects.toMatchObject({ code: "ISTHMUS_NAME_RESTS" });
    client.close();
  });

  it("leaves a name that rests also when it was taken over by a token and then rejected", async () => {
    await joinAgent(hub, "rest-c");
    const made = await token("rest-c", { rejoin: true, mustBeAccepted: true });
    const client = anonymousClient(hub.address);
    await client.join(await joinRequest(String(made["token"]), newKeys()));
    client.close();
    await change("rest-c", "reject");
    await expect(token("rest-c")).rejects.toMatchObject({ code: "ISTHMUS_NAME_RESTS" });
    const other = await joinAgent(hub, "rest-d");
    expect(other.reply.bundle?.revokedTrustDomains).toContain("rest-c.acme.mesh");
  });

  it("comes back by a new token alone, with new keys, and is trusted again", async () => {
    const leaver = await joinAgent(hub, "leave-c");
    await change("leave-c", "leave");
    await change("leave-c", "reinstate");
    expect(await codeOf(watch(leaver).next())).toBe("ISTHMUS_MEMBER_LEFT");
    const back = await joinAgain("leave-c");
    expect(back.reply.bundle?.revokedTrustDomains).not.toContain("leave-c.acme.mesh");
    const watching = watch(back);
    await watching.nextUntil(({ event }) => event === "synced");
    watching.cancel();
    expect(await codeOf(watch(leaver).next())).toBe("ISTHMUS_AGENT_KEY_REPLACED");
  });

  it("that is revoked afterwards comes back by no token; undoing that makes it one that left, not one that is trusted", async () => {
    await joinAgent(hub, "leave-d");
    await change("leave-d", "leave");
    await change("leave-d", "revoke");
    await expect(token("leave-d")).rejects.toMatchObject({ code: "ISTHMUS_MEMBER_REVOKED" });
    expect(await change("leave-d", "reinstate")).toMatchObject({ state: "left" });
    const { reply } = await joinAgent(hub, "leave-e");
    expect(reply.bundle?.revokedTrustDomains).toContain("leave-d.acme.mesh");
    await expect(token("leave-d")).rejects.toMatchObject({ code: "ISTHMUS_NAME_RESTS" });
    await joinAgain("leave-d");
  });
});

describe("the audit log", () => {
  it("tells of tokens, joins, replays and every operator's word", async () => {
    const { entries: before } = await hub.operator("GET", "/v1/audit");
    const count = (before as readonly unknown[]).length;
    const made = await token("log-a");
    const client = anonymousClient(hub.address);
    await client.join(await joinRequest(String(made["token"]), newKeys()));
    await codeOf(client.join(await joinRequest(String(made["token"]), newKeys())));
    await change("log-a", "revoke");
    client.close();
    expect((await audited()).slice(count)).toEqual([
      `token.create ${String(made["id"])}`,
      "member.join log-a",
      `token.replayed ${String(made["id"])}`,
      "member.revoke log-a",
    ]);
    expect(await readFile(join(hub.dataDir, auditFileName), "utf8")).not.toContain(String(made["token"]));
  });
});

describe("a hub that starts again", () => {
  it("still says who is revoked, and refuses an audit log that was changed", async () => {
    const dataDir = await makeDataDir();
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
    const first = await startTestHub({ data: dataDir }, true);
    await joinAgent(first, "again-a");
    await first.operator("POST", "/v1/members/again-a/revoke");
    await first.stop();
    const second = await startTestHub({ data: dataDir }, true);
    const { reply } = await joinAgent(second, "again-b");
    expect(reply.bundle?.revokedTrustDomains).toEqual(["again-a.acme.mesh"]);
    await second.stop();
    const path = join(dataDir, auditFileName);
    await writeFile(path, (await readFile(path, "utf8")).replace("again-a", "again-x"));
    await expect(startTestHub({ data: dataDir })).rejects.toMatchObject({ code: "ISTHMUS_AUDIT_BROKEN" });
  }, 60_000);
});
