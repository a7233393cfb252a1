// A rotation of the root as members meet it: a whole hub, and agents that watch, report and renew over real gRPC.
import { rm } from "node:fs/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { RootUse, StatusReport, TrustBundle } from "../../shared/grpc/fleet-messages.ts";
import { rootOfChain } from "../../shared/pki/chain.ts";
import { certificateFingerprint } from "../../shared/pki/fingerprint.ts";
import { buildRequest } from "../../shared/pki/x509-builder.ts";
import { clientOf, joinAgent, makeDataDir, startTestHub, watch, type TestAgent, type TestHub } from "../testing/hub.ts";
import type { TrustOverview } from "./trust-overview.ts";

const proxies = 2;
let hubs: TestHub[] = [];
let dataDir: string;

afterEach(async () => {
  for (const hub of hubs) await hub.stop();
  hubs = [];
  await rm(dataDir, { recursive: true, force: true });
});

async function startHub(): Promise<TestHub> {
  const hub = await startTestHub({ data: dataDir, retireSkew: "1s" }, true);
  hubs.push(hub);
  return hub;
}

async function aHub(): Promise<TestHub> {
  dataDir = await makeDataDir();
  return startHub();
}

const eventually = (holds: () => Promise<void>) => vi.waitFor(holds, { timeout: 80_000, interval: 100 });
const overview = async (hub: TestHub) => (await hub.operator("GET", "/v1/trust")) as unknown as TrustOverview;
const stepOf = async (hub: TestHub) => (await overview(hub)).rotation?.step ?? "over";
const untilStep = (hub: TestHub, step: string) => eventually(async () => expect(await stepOf(hub)).toBe(step));

/** An agent that does what it is told: takes bundles, renews when asked, and says that its proxies have all of it. */
class Obedient {
  readonly agent: TestAgent;
  bundle: TrustBundle;
  agentChain: readonly Uint8Array[];
  clusterCa: readonly Uint8Array[];
  renewals = 0;

  constructor(agent: TestAgent) {
    this.agent = agent;
    if (agent.reply.bundle === null) throw new Error("no bundle");
    this.bundle = agent.reply.bundle;
    [this.agentChain, this.clusterCa] = [agent.reply.agentChainDer, agent.reply.clusterCaChainDer];
  }

  /** One turn: the newest bundle, a report, and a renewal when the hub asks for one. */
  async turn(hub: TestHub, shown: Partial<RootUse> = {}): Promise<void> {
    const client = clientOf(hub.address, this.agent.keys, this.agentChain);
    try {
      const watching = watch({ ...this.agent, client });
      const [event] = await watching.nextUntil(({ event }) => event === "bundle");
      watching.cancel();
      if (event?.event === "bundle" && event.bundle.sequence > this.bundle.sequence) this.bundle = event.bundle;
      const { renewNow } = await client.report(this.#report(shown));
      if (!renewNow) return;
      const { agentKeyPem, clusterCaKeyPem } = this.agent.keys;
      const [agentCsrDer, clusterCaCsrDer] = [await buildRequest(agentKeyPem), await buildRequest(clusterCaKeyPem)];
      const renewed = await client.renew({ agentCsrDer, clusterCaCsrDer });
      [this.agentChain, this.clusterCa] = [renewed.agentChainDer, renewed.clusterCaChainDer];
      this.renewals += 1;
      await client.report(this.#report(shown));
    } finally {
      client.close();
    }
  }

  root(): string {
    const der = rootOfChain(this.clusterCa, this.bundle.rootsDer);
    return der === undefined ? "none" : certificateFingerprint(der);
  }

  #report(shown: Partial<RootUse>): StatusReport {
    const signs = this.root();
    const roots = this.bundle.rootsDer.map(certificateFingerprint).map((root) => {
      const count = root === signs ? proxies : 0;
      const counts = { trustedBy: proxies, usedBy: count, provenBy: count };
      const held = { agentCertificate: root === signs, clusterCa: root === signs };
      return { root, ...counts, ...held, untrusting: [], notUsing: [], unproven: [], ...shown };
    });
    return {
      ...{ agentVersion: "test", pod: "agent-0", bundleSequence: this.bundle.sequence, appliedRevision: 0 },
      ...{ proxies, gatewaysReady: 0, servicesExported: 0, servicesImported: 0 },
      ...{ clusterCaNotAfterMs: 0, agentNotAfterMs: 0, problems: [] },
      trust: { proxies, unserved: [], svidTtlMs: 1_000, roots },
    };
  }
}

const turns = (hub: TestHub, members: readonly Obedient[]) => Promise.all(members.map((member) => member.turn(hub)));

async function untilOver(hub: TestHub, members: readonly Obedient[]): Promise<void> {
  await eventually(async () => {
    await turns(hub, members);
    expect(await stepOf(hub)).toBe("over");
  });
}

describe("a rotation of the root", () => {
  it("ends with every member under the new root, and the old one trusted by nobody", async () => {
    const hub = await aHub();
    const members = [new Obedient(await joinAgent(hub, "east")), new Obedient(await joinAgent(hub, "west"))];
    const before = members.map((member) => member.root());
    await hub.operator("POST", "/v1/rotation", {});
    await untilOver(hub, members);
    await turns(hub, members);
    for (const member of members) {
      expect(member.bundle.rootsDer).toHaveLength(1);
      expect([member.renewals, before.includes(member.root())]).toEqual([1, false]);
    }
    expect((await overview(hub)).lastRotation?.outcome).toBe("completed");
    // a member that joins now has never heard of the old root
    const late = new Obedient(await joinAgent(hub, "north"));
    expect(late.root()).toBe(members[0]?.root());
  }, 180_000);

  it("goes on where it was after the hub was killed, in every step", async () => {
    let hub = await aHub();
    const member = new Obedient(await joinAgent(hub, "east"));
    for (const step of ["prepared", "trusted", "signing", "retiring"]) {
      await hub.operator("POST", "/v1/rotation", { hold: step });
      await eventually(async () => {
        await member.turn(hub);
        expect(await stepOf(hub)).toBe(step);
      });
      const before = await overview(hub);
      await hub.stop();
      hub = await startHub();
      const { rotation, roots, bundleSequence } = await overview(hub);
      expect([rotation?.step, roots, bundleSequence]).toEqual([step, before.roots, before.bundleSequence]);
      await hub.operator("POST", "/v1/rotation/resume");
      await untilOver(hub, [member]);
    }
  }, 180_000);

  it("waits for a member that is away, says so, and goes on when it is set aside", async () => {
    const hub = await aHub();
    const east = new Obedient(await joinAgent(hub, "east"));
    await joinAgent(hub, "west");
    await hub.operator("POST", "/v1/rotation", {});
    await untilStep(hub, "trusted");
    await east.turn(hub);
    expect((await overview(hub)).rotation?.blockers).toEqual([
      { cluster: "west", reason: "nothing is heard of its agents", away: true },
    ]);
    const metrics = async () => (await fetch(`${hub.http}/metrics`)).text();
    expect(await metrics()).toMatch(/isthmus_hub_rotation_step\{step="trusted"\} 1/);
    expect(await metrics()).toMatch(/isthmus_hub_rotation_blockers\{why="away"\} 1/);
    await hub.operator("POST", "/v1/rotation/set-aside/west");
    await untilStep(hub, "signing");
    expect(await metrics()).toMatch(/isthmus_hub_rotation_step\{step="trusted"\} 0/);
    expect(await metrics()).toMatch(/isthmus_hub_rotation_step_seconds [0-9.]+/);
    await hub.operator("POST", "/v1/rotation/wait-for/west");
    await east.turn(hub);
    expect(await stepOf(hub)).toBe("signing");
  }, 180_000);

  it("waits for the last proxy, and names it", async () => {
    const hub = await aHub();
    const east = new Obedient(await joinAgent(hub, "east"));
    await hub.operator("POST", "/v1/rotation", {});
    await untilStep(hub, "trusted");
    await east.turn(hub, { trustedBy: proxies - 1, untrusting: ["sidecar~cart.shop"] });
    const { rotation } = await overview(hub);
    expect([rotation?.step, rotation?.blockers[0]?.reason]).toEqual([
      "trusted",
      "sidecar~cart.shop have not acknowledged the root",
    ]);
  }, 180_000);

  it("goes on without one proxy that an operator sets aside, and without no other", async () => {
    const hub = await aHub();
    const east = new Obedient(await joinAgent(hub, "east"));
    await hub.operator("POST", "/v1/rotation", {});
    await untilStep(hub, "trusted");
    const hangs = { trustedBy: proxies - 1, untrusting: ["sidecar~cart.shop"] };
    await hub.operator("POST", "/v1/rotation/set-aside/east", { proxy: "sidecar~other.shop" });
    await east.turn(hub, hangs);
    expect(await stepOf(hub)).toBe("trusted");
    await expect(hub.operator("POST", "/v1/rotation/set-aside/east", { proxy: "a b" })).rejects.toMatchObject({
      code: "ISTHMUS_PROXY_NAME",
    });
    await hub.operator("POST", "/v1/rotation/set-aside/east", { proxy: "sidecar~cart.shop" });
    await eventually(async () => {
      await east.turn(hub, hangs);
      expect(await stepOf(hub)).toBe("signing");
    });
  }, 60_000);

  it("is taken back from each step that allows it, and members are under the old root again", async () => {
    const hub = await aHub();
    const east = new Obedient(await joinAgent(hub, "east"));
    const root = east.root();
    for (const step of ["prepared", "trusted", "signing"]) {
      await hub.operator("POST", "/v1/rotation", { hold: step });
      await eventually(async () => {
        await east.turn(hub);
        expect(await stepOf(hub)).toBe(step);
      });
      await hub.operator("POST", "/v1/rotation/roll-back");
      await untilOver(hub, [east]);
      await east.turn(hub);
      expect([east.root(), east.bundle.rootsDer.length]).toEqual([root, 1]);
    }
    expect((await overview(hub)).lastRotation?.outcome).toBe("rolled-back");
    await expect(hub.operator("POST", "/v1/rotation/roll-back")).rejects.toMatchObject({
      code: "ISTHMUS_ROTATION_NONE",
    });
  }, 180_000);

  it("in an emergency leaves behind who does not answer, and refuses what it shows afterwards", async () => {
    const hub = await aHub();
    const east = new Obedient(await joinAgent(hub, "east"));
    const gone = new Obedient(await joinAgent(hub, "west"));
    await hub.operator("POST", "/v1/rotation", { emergency: true });
    await untilOver(hub, [east]);
    await expect(gone.turn(hub)).rejects.toMatchObject({ details: expect.stringContaining("certificate") as string });
  }, 180_000);

  it("frees a name that was left: what its former life could use hangs on the root that is gone", async () => {
    const hub = await aHub();
    const east = new Obedient(await joinAgent(hub, "east"));
    await joinAgent(hub, "west");
    await hub.operator("POST", "/v1/members/west/leave");
    await expect(hub.tokenFor("west")).rejects.toMatchObject({ code: "ISTHMUS_NAME_RESTS" });
    await hub.operator("POST", "/v1/rotation", {});
    await untilOver(hub, [east]);
    const { reply } = await joinAgent(hub, "west");
    expect(reply.bundle?.revokedTrustDomains).toEqual([]);
  }, 60_000);

  it("is one at a time", async () => {
    const hub = await aHub();
    await hub.operator("POST", "/v1/rotation", { hold: "prepared" });
    await expect(hub.operator("POST", "/v1/rotation", {})).rejects.toMatchObject({ code: "ISTHMUS_ROTATION_RUNS" });
    await expect(hub.operator("POST", "/v1/rotation/resume", { hold: "soon" })).rejects.toMatchObject({
      code: "ISTHMUS_ROTATION_STEP",
    });
    await expect(hub.operator("POST", "/v1/rotation", { to: "moon" })).rejects.toMatchObject({
      code: "ISTHMUS_ROOT_KIND",
    });
  }, 180_000);
});

describe("a new cluster CA at an operator's word", () => {
  it("is asked for until the member has it, also by a hub that was started again", async () => {
    const first = await aHub();
    const east = new Obedient(await joinAgent(first, "east"));
    const before = east.clusterCa;
    await first.operator("POST", "/v1/rotation/cluster-ca/east");
    await first.stop();
    const hub = await startHub();
    expect((await overview(hub)).reissue).toEqual(["east"]);
    await east.turn(hub);
    expect([east.renewals, (await overview(hub)).reissue]).toEqual([1, []]);
    expect(east.clusterCa).not.toEqual(before);
    await east.turn(hub);
    expect(east.renewals).toBe(1);
    await expect(hub.operator("POST", "/v1/rotation/cluster-ca/nobody")).rejects.toMatchObject({
      code: "ISTHMUS_MEMBER_UNKNOWN",
    });
  }, 180_000);
});
