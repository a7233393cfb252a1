// Joining, and every way in which it may fail: against a real hub, an impostor with another key, a relay that changes its mind
// between two connections, and listeners that are no hub at all.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { makeDataDir, startTestHub, type TestHub } from "../../hub/testing/hub.ts";
import { capturedLog } from "../../hub/testing/redis.ts";
import { systemClock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { formatJoinToken, parseJoinToken, type JoinToken } from "../../shared/join-token.ts";
import { fileIdentityStore } from "../identity/identity-file.ts";
import {
  encodeIdentity,
  type IdentityState,
  type IdentityStore,
  type JoiningIdentity,
} from "../identity/identity-state.ts";
import { openAgentCredential } from "../identity/agent-credential.ts";
import { probeHub, splitHubAddress } from "./hub-tls.ts";
import { joinFleet, type JoinDeps } from "./join.ts";
import { leaveFleet } from "./leave.ts";
import { startImpostor, startPlain, startRelay } from "./testing/tls-listener.ts";

let hub: TestHub;
let folder: string;
let deps: JoinDeps;

beforeAll(async () => {
  hub = await startTestHub({ data: await makeDataDir(), allowLoopback: true });
});
afterAll(() => hub.stop());

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-join-"));
  deps = {
    store: fileIdentityStore(join(folder, "identity.json")),
    clock: systemClock,
    random: () => 0.5,
    log: capturedLog(),
    agentVersion: "test",
    signal: new AbortController().signal,
    patienceMs: 0,
  };
  return () => rm(folder, { recursive: true, force: true });
});

async function token(cluster: string, change: Partial<JoinToken> = {}, rejoin = false): Promise<string> {
  const parsed = parseJoinToken(await hub.tokenFor(cluster, rejoin));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.error));
  return formatJoinToken({ ...parsed.value, hub: hub.address, ...change });
}

const otherStore = () => fileIdentityStore(join(folder, `other-${Math.random()}.json`));

describe("a join", () => {
  it("gives an identity that opens, is kept, and is not asked for twice", async () => {
    const text = await token("alpha");
    const joined = await joinFleet(text, deps);
    expect(joined).toMatchObject({ stage: "joined", cluster: "alpha", fleetDomain: "acme.mesh", hub: hub.address });
    const { store, clock, random, log } = deps;
    expect(openAgentCredential({ initial: joined, store, mayWrite: () => true, clock, random, log }).ok).toBe(true);
    expect((await joinFleet("not even a token", deps)).agentChainPem).toBe(joined.agentChainPem);
  });

  describe("of a member that has left", () => {
    const texts = (state: IdentityState | undefined) => state && encodeIdentity(state);
    const left = async (cluster: string) => {
      const first = await joinFleet(await token(cluster), deps);
      await leaveFleet({ ...first, hub: hub.address });
      return first;
    };
    const openToken = async (cluster: string) => {
      const made = await hub.operator("POST", "/v1/tokens", { cluster, trustFormer: true });
      const parsed = parseJoinToken(String(made["token"]));
      if (!parsed.ok) throw new Error(JSON.stringify(parsed.error));
      return formatJoinToken({ ...parsed.value, hub: hub.address });
    };

    it("takes a new token without anything being removed, with new keys; asking to leave twice is no mistake", async () => {
      const first = await left("back-a");
      await leaveFleet({ ...first, hub: hub.address });
      expect(texts(await joinFleet(undefined, deps))).toEqual(texts(first));
      const second = await joinFleet(await openToken("back-a"), deps);
      expect(second.cluster).toBe("back-a");
      expect([second.agentKeyPem, second.clusterCaKeyPem]).not.toContain(first.agentKeyPem);
      expect(second.clusterCaKeyPem).not.toBe(first.clusterCaKeyPem);
      expect(texts(await deps.store.load())).toEqual(texts(second));
    });

    it("stays who it was with a token that does not let in: one that is spent, one of a hub that is away", async () => {
      const first = await left("back-b");
      const text = await openToken("back-b");
      const parsed = parseJoinToken(text);
      if (!parsed.ok) throw new Error("token");
      await joinFleet(text, { ...deps, store: otherStore() });
      for (const given of [text, formatJoinToken({ ...parsed.value, hub: "127.0.0.1:9" })]) {
        expect(texts(await joinFleet(given, deps))).toEqual(texts(first));
        expect(texts(await deps.store.load())).toEqual(texts(first));
      }
    });

    it("that was killed while it joined anew goes on with the new token, or, without it, as it was", async () => {
      const first = await left("back-d");
      const file = deps.store;
      const crashing: IdentityStore = {
        load: () => file.load(),
        save: (state) => (state.stage === "joined" ? Promise.reject(new Error("killed")) : file.save(state)),
      };
      const text = await openToken("back-d");
      await expect(joinFleet(text, { ...deps, store: crashing })).rejects.toThrow("killed");
      const kept = (await file.load()) as IdentityState;
      expect(kept).toMatchObject({ stage: "joining", former: { cluster: "back-d" } });
      const second = await joinFleet(text, deps);
      expect(second.clusterCaKeyPem).toBe(kept.clusterCaKeyPem);
      await file.save({ ...(kept as JoiningIdentity), former: first });
      expect(texts(await joinFleet(undefined, deps))).toEqual(texts(first));
      expect(texts(await file.load())).toEqual(texts(first));
    });
  });

  it("whose answer was lost is repeated with the same keys by the next process", async () => {
    const text = await token("beta");
    const file = deps.store;
    const crashing: IdentityStore = {
      load: () => file.load(),
      save: (state) =>
        state.stage === "joined" ? Promise.reject(new Error("killed before it was kept")) : file.save(state),
    };
    await expect(joinFleet(text, { ...deps, store: crashing })).rejects.toThrow("killed");
    const kept = (await file.load()) as IdentityState;
    expect(kept.stage).toBe("joining");
    const joined = await joinFleet(text, deps);
    expect([joined.agentKeyPem, joined.clusterCaKeyPem]).toEqual([kept.agentKeyPem, kept.clusterCaKeyPem]);
  });

  it("never writes the token's secret or a key into the log", async () => {
    const text = await token("gamma");
    const log = capturedLog();
    const joined = await joinFleet(text, { ...deps, log });
    const parsed = parseJoinToken(text);
    const secret = parsed.ok ? Buffer.from(parsed.value.secret) : Buffer.alloc(0);
    const lines = [...log.lines, ...hub.log.lines].join("\n");
    expect(lines).toContain("joined the fleet");
    for (const form of [text, secret.toString("base64"), secret.toString("base64url"), secret.toString("hex")]) {
      expect(lines.includes(form)).toBe(false);
    }
    expect(lines.includes(joined.agentKeyPem.split("\n")[1] ?? "?")).toBe(false);
  });
});

describe("a join is refused with its reason", () => {
  it.each<[string, string | (() => Promise<string>), string]>([
    ["text that is no token", "hello", "ISTHMUS_TOKEN_MALFORMED"],
    ["a token that was cut off", async () => (await token("cut")).slice(0, -30), "ISTHMUS_TOKEN_MALFORMED"],
    ["a token nobody made", () => token("nobody", { id: "abcdefgh12345678" }), "ISTHMUS_TOKEN_UNKNOWN"],
    ["a wrong secret", () => token("wrong", { secret: new Uint8Array(32) }), "ISTHMUS_TOKEN_UNKNOWN"],
  ])("%s", async (_what, text, code) => {
    const given = typeof text === "string" ? text : await text();
    const refused = await joinFleet(given, deps).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(UserError);
    expect(refused).toMatchObject({ code });
    expect((refused as UserError).hint).toMatch(/.+/);
  });

  it("a token that other keys have redeemed", async () => {
    const text = await token("delta");
    await joinFleet(text, deps);
    await expect(joinFleet(text, { ...deps, store: otherStore() })).rejects.toMatchObject({
      code: "ISTHMUS_TOKEN_USED",
    });
  });

  it("a cluster's name that is taken", async () => {
    await joinFleet(await token("epsilon"), deps);
    const again = hub.operator("POST", "/v1/tokens", { cluster: "epsilon", rejoin: false });
    const outcome = await again.then(
      async ({ token: text }) => {
        const parsed = parseJoinToken(String(text));
        if (!parsed.ok) return undefined;
        const moved = formatJoinToken({ ...parsed.value, hub: hub.address });
        return joinFleet(moved, { ...deps, store: otherStore() }).catch((error: unknown) => error);
      },
      (error: unknown) => error,
    );
    expect(outcome).toMatchObject({ code: "ISTHMUS_CLUSTER_TAKEN" });
  });
});

describe("who answers in the hub's place", () => {
  it("would be heard by the impostor of these tests: one byte to it is counted", async () => {
    const impostor = await startImpostor();
    const { host, port } = splitHubAddress(impostor.address);
    const socket = connect({ host, port, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    socket.end("x");
    expect(await impostor.receivedBytes()).toBe(1);
  });

  it("with another key is sent no byte of the secret, nor anything else", async () => {
    const impostor = await startImpostor();
    const refused = await joinFleet(await token("zeta", { hub: impostor.address }), deps).catch(
      (error: unknown) => error,
    );
    expect(refused).toMatchObject({ code: "ISTHMUS_HUB_PIN" });
    expect(impostor.connections()).toBe(1); // it was reached, so the zero below is the agent's doing
    expect(await impostor.receivedBytes()).toBe(0);
  });

  it("only after the pin was checked is sent nothing either: the second connection is checked again", async () => {
    const impostor = await startImpostor();
    const relay = await startRelay((connection) => (connection === 0 ? hub.address : impostor.address));
    const refused = await joinFleet(await token("eta", { hub: relay.address }), deps).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "ISTHMUS_HUB_UNREACHABLE" });
    expect(impostor.connections()).toBe(1);
    expect(await impostor.receivedBytes()).toBe(0);
    relay.close();
  });

  it("with the right key through a relay is the hub", async () => {
    const relay = await startRelay(() => hub.address);
    expect((await joinFleet(await token("theta", { hub: relay.address }), deps)).cluster).toBe("theta");
    relay.close();
  });

  it("in plaintext is not spoken to", async () => {
    const plain = await startPlain("HTTP/1.1 400 Bad Request\r\n\r\n");
    const refused = joinFleet(await token("iota", { hub: plain.address }), deps);
    await expect(refused).rejects.toMatchObject({ code: "ISTHMUS_HUB_UNREACHABLE" });
    plain.close();
  });

  it("without a word is given up after the time-out", async () => {
    const silent = await startPlain(undefined);
    const probe = probeHub(silent.address, "sha256/x", 100);
    await expect(probe).rejects.toThrow(/no answer within 100 ms/);
    silent.close();
  });

  it("nobody: the message names the address and what to check", async () => {
    const free = await startPlain(undefined);
    free.close();
    const refused = await joinFleet(await token("kappa", { hub: free.address }), deps).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "ISTHMUS_HUB_UNREACHABLE" });
    expect((refused as UserError).message).toContain(free.address);
    expect((refused as UserError).hint).toContain("no hub listens there");
  });
});
