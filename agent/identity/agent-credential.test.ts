import { beforeEach, describe, expect, it } from "vitest";
import { capturedLog, type CapturedLog } from "../../hub/testing/redis.ts";
import { generateKeyPem, keyProviderFromPem, type KeyProvider } from "../../shared/pki/key.ts";
import type { TestCa } from "../../shared/pki/testing/fleet-pki.ts";
import { openAgentCredential, openIdentity, type AgentCredential, type Renew } from "./agent-credential.ts";
import {
  decodeIdentity,
  encodeIdentity,
  type IdentityState,
  type IdentityStore,
  type JoinedIdentity,
} from "./identity-state.ts";
import { HeldClock } from "./testing/held-clock.ts";
import { joinedIdentity, renewFrom, signedBundle, testRoot } from "./testing/joined-identity.ts";

const hourMs = 3_600_000;
const ttlMs = 24 * hourMs;

let clock: HeldClock;
let root: TestCa;
let signer: KeyProvider;
let initial: JoinedIdentity;
let kept: IdentityState | undefined;
let saves: number;
let log: CapturedLog;
let mayWrite: boolean;
let renewals: number;
let stops: (() => Promise<void>)[];

const store: IdentityStore = {
  load: () => Promise.resolve(kept),
  save: (state) => {
    saves += 1;
    kept = state;
    return Promise.resolve();
  },
};

beforeEach(async () => {
  clock = new HeldClock(Date.UTC(2026, 5, 1));
  root = await testRoot(clock.now());
  signer = keyProviderFromPem(generateKeyPem());
  initial = await joinedIdentity({ nowMs: clock.now(), root, signer, agentTtlMs: ttlMs, clusterCaTtlMs: ttlMs });
  [kept, saves, renewals, mayWrite, log, stops] = [initial, 0, 0, true, capturedLog(), []];
  return async () => {
    for (const stop of stops) await stop();
  };
});

function open(state = initial): AgentCredential {
  const opened = openAgentCredential({
    initial: state,
    store,
    mayWrite: () => mayWrite,
    clock,
    random: () => 0.5,
    log,
  });
  if (!opened.ok) throw new Error(JSON.stringify(opened.error));
  return opened.value;
}

function start(credential: AgentCredential, renew: Renew = renewFrom(root, () => clock.now(), ttlMs)): void {
  clock.loops += 1;
  const ending = new AbortController();
  const counted: Renew = (request) => {
    renewals += 1;
    return renew(request);
  };
  const run = credential.run(counted, ending.signal).catch((error: unknown) => error);
  stops.push(async () => {
    ending.abort(new Error("over"));
    await run;
  });
}

describe("a member's credentials", () => {
  it("are renewed at half of their life: checked, kept, then used and told", async () => {
    const credential = open();
    let told = 0;
    credential.onChange(() => {
      told += 1;
      expect(kept && encodeIdentity(kept)).toEqual(encodeIdentity(credential.state())); // kept before it is used
    });
    start(credential);
    await clock.pass(11 * hourMs);
    expect([renewals, told]).toEqual([0, 0]);
    await clock.pass(2 * hourMs);
    expect([renewals, told, saves]).toEqual([1, 1, 1]);
    expect(credential.state().agentKeyPem).not.toBe(initial.agentKeyPem);
    expect(credential.state().clusterCaKeyPem).not.toBe(initial.clusterCaKeyPem);
    expect(credential.agentValidity().notAfterMs - clock.now()).toBeGreaterThan(20 * hourMs);
  });

  it("survive a hub that is away until shortly before their end, and are renewed when it is back", async () => {
    const credential = open();
    let away = true;
    const renew = renewFrom(root, () => clock.now(), ttlMs);
    start(credential, (request) => (away ? Promise.reject(new Error("the hub is away")) : renew(request)));
    await clock.pass(12 * hourMs + 5 * 60_000);
    expect(credential.state()).toBe(initial);
    expect(renewals).toBeGreaterThan(10); // after the first ones half a minute apart
    away = false;
    await clock.pass(30_000);
    expect(credential.agentValidity().notAfterMs - clock.now()).toBeGreaterThan(20 * hourMs);
  });

  it("refuse an answer that is not what was asked for, and keep the old ones", async () => {
    const credential = open();
    const elsewhere = await testRoot(clock.now());
    start(
      credential,
      renewFrom(elsewhere, () => clock.now(), ttlMs),
    );
    await clock.pass(12 * hourMs + 1000);
    expect([credential.state() === initial, saves]).toEqual([true, 0]);
    expect(log.lines.join("")).toContain("does not end at a root of this fleet");
  });

  it("are taken over from another replica's write; who may not write does not renew", async () => {
    mayWrite = false;
    const credential = open();
    start(credential);
    await clock.pass(13 * hourMs);
    expect([renewals, credential.state() === initial]).toEqual([0, true]);
    const other = await joinedIdentity({ nowMs: clock.now(), root, signer, agentTtlMs: ttlMs, clusterCaTtlMs: ttlMs });
    kept = other;
    await clock.pass(60_000);
    expect(credential.state().agentChainPem).toBe(other.agentChainPem);
    expect([renewals, saves]).toEqual([0, 0]);
  });

  it("are renewed at once when the hub asks for it", async () => {
    const credential = open();
    start(credential);
    await clock.pass(1000);
    credential.renewSoon();
    await clock.pass(0);
    expect(renewals).toBe(1);
  });

  it("are renewed within half a minute after a suspension", async () => {
    const credential = open();
    start(credential);
    await clock.pass(hourMs);
    clock.jump(15 * hourMs);
    await clock.pass(30_000);
    expect(renewals).toBe(1);
  });
});

describe("a member's trust bundle", () => {
  it("is replaced by a newer one of its signer, and kept", async () => {
    const credential = open();
    expect(await credential.offerBundle(await signedBundle(root, signer, 2))).toEqual({ ok: true, value: "newer" });
    expect([credential.state().bundle.sequence, saves]).toEqual([2, 1]);
    expect(await credential.offerBundle(credential.state().bundle)).toEqual({ ok: true, value: "unchanged" });
    expect(saves).toBe(1);
  });

  it("is not replaced by an older one or another signer's", async () => {
    const credential = open();
    await credential.offerBundle(await signedBundle(root, signer, 5));
    const offers = [
      await signedBundle(root, signer, 4),
      await signedBundle(root, keyProviderFromPem(generateKeyPem()), 9),
    ];
    for (const offer of offers) expect((await credential.offerBundle(offer)).ok).toBe(false);
    expect(credential.state().bundle.sequence).toBe(5);
  });

  it("is kept with renewed certificates also by a replica that leads no more: the hub knows no other key for long", async () => {
    const credential = open();
    const renew = renewFrom(root, () => clock.now(), ttlMs);
    start(credential, (request) => {
      mayWrite = false; // the lease is lost while the hub answers
      return renew(request);
    });
    credential.renewSoon();
    await clock.pass(1_000);
    expect(kept?.stage === "joined" && kept.agentChainPem).toBe(credential.state().agentChainPem);
    expect(credential.state().agentChainPem).not.toBe(initial.agentChainPem);
  });

  it("loses a root at the hub's word even when its own chains end there: a compromised one must be trusted by nobody", async () => {
    const credential = open();
    const elsewhere = await testRoot(clock.now());
    expect((await credential.offerBundle(await signedBundle(elsewhere, signer, 9))).ok).toBe(true);
    expect(credential.state().bundle.rootsDer).toEqual([elsewhere.der]);
    expect(openIdentity(credential.state()).ok).toBe(false);
  });

  it("is never taken back by another replica's older write", async () => {
    mayWrite = false;
    const credential = open();
    await credential.offerBundle(await signedBundle(root, signer, 3));
    const other = await joinedIdentity({
      nowMs: clock.now() + 60_000,
      root,
      signer,
      agentTtlMs: ttlMs,
      clusterCaTtlMs: ttlMs,
    });
    kept = other;
    start(credential);
    await clock.pass(13 * hourMs);
    expect(credential.state().agentChainPem).toBe(other.agentChainPem);
    expect(credential.state().bundle.sequence).toBe(3);
  });
});

describe("while another replica joins the fleet anew", () => {
  it("nothing is written over its keys, and no certificate is asked for with the old ones", async () => {
    const joining = {
      stage: "joining",
      tokenId: "t",
      agentKeyPem: "a",
      clusterCaKeyPem: "c",
      former: initial,
    } as const;
    const credential = open();
    kept = joining;
    start(credential);
    await clock.pass(13 * hourMs);
    expect(await credential.offerBundle(await signedBundle(root, signer, 4))).toEqual({ ok: true, value: "newer" });
    expect([kept, renewals, saves]).toEqual([joining, 0, 0]);
    expect(credential.state().bundle.sequence).toBe(4); // it goes by the newest all the same
  });
});

describe("a kept identity", () => {
  it("is the same after it was written and read", () => {
    const again = decodeIdentity(encodeIdentity(initial));
    expect(again.ok && encodeIdentity(again.value)).toEqual(encodeIdentity(initial));
    const joining = { stage: "joining", tokenId: "t", agentKeyPem: "a", clusterCaKeyPem: "c" } as const;
    expect(decodeIdentity(encodeIdentity(joining))).toEqual({ ok: true, value: joining });
  });

  it.each([
    "agentKeyPem",
    "agentChainPem",
    "clusterCaKeyPem",
    "clusterCaChainPem",
    "bundle",
    "hub",
    "cluster",
    "knownSigners",
  ])("without %s is refused, and says so", (name) => {
    const texts = { ...encodeIdentity(initial), [name]: "" };
    const refused = decodeIdentity(texts);
    expect(refused.ok).toBe(false);
    if (!refused.ok) expect(JSON.stringify(refused.error)).toContain(name);
  });

  it.each<[string, (other: JoinedIdentity) => Partial<JoinedIdentity>]>([
    ["another key", (other) => ({ agentKeyPem: other.agentKeyPem })],
    ["another cluster CA key", (other) => ({ clusterCaKeyPem: other.clusterCaKeyPem })],
    ["another fleet's roots", (other) => ({ bundle: other.bundle })],
    ["its chains exchanged", () => ({ agentChainPem: initial.clusterCaChainPem })],
  ])("with %s does not open", async (_what, change) => {
    const other = await joinedIdentity({ nowMs: clock.now() });
    const deps = { store, mayWrite: () => true, clock, random: () => 0.5, log };
    expect(openAgentCredential({ initial: { ...initial, ...change(other) }, ...deps }).ok).toBe(false);
  });
});
