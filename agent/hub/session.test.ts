// An agent's whole life with a real hub (TLS, Redis, gRPC on loopback): join, publish, watch, loss and return, renewal.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { capturedLog, type CapturedLog } from "../../hub/testing/redis.ts";
import { makeDataDir, startTestHub, type TestHub } from "../../hub/testing/hub.ts";
import { systemClock } from "../../shared/clock.ts";
import { formatJoinToken, parseJoinToken } from "../../shared/join-token.ts";
import type { RegistryRecord } from "../../shared/registry.ts";
import { openAgentCredential, type AgentCredential } from "../identity/agent-credential.ts";
import { fileIdentityStore } from "../identity/identity-file.ts";
import { encodeIdentity, type IdentityStore } from "../identity/identity-state.ts";
import { joinFleet } from "./join.ts";
import { Publisher } from "./publisher.ts";
import { RemoteRegistry } from "./remote-registry.ts";
import type { AgentStatus } from "./report.ts";
import { runHubSession, type HubState } from "./session.ts";
import { eventually } from "./testing/eventually.ts";

const status: AgentStatus = {
  agentVersion: "test",
  pod: "agent-0",
  proxies: 0,
  gatewaysReady: 0,
  servicesExported: 0,
  servicesImported: 0,
  problems: [],
};

/** The test's hub listens on a port that nobody knew when its data was made. */
async function tokenFor(hub: TestHub, cluster: string): Promise<string> {
  const token = parseJoinToken(await hub.tokenFor(cluster));
  if (!token.ok) throw new Error(JSON.stringify(token.error));
  return formatJoinToken({ ...token.value, hub: hub.address });
}

interface Agent {
  readonly credential: AgentCredential;
  readonly store: IdentityStore;
  readonly remote: RemoteRegistry;
  readonly publisher: Publisher;
  readonly log: CapturedLog;
  readonly states: HubState[];
  connected(): boolean;
  stop(): Promise<void>;
}

const random = () => 0.5;

async function startAgent(folder: string, token: string): Promise<Agent> {
  const log = capturedLog();
  const store = fileIdentityStore(join(folder, "identity.json"));
  const signal = new AbortController();
  const joinDeps = { store, clock: systemClock, random, log, agentVersion: "test", signal: signal.signal };
  const initial = await joinFleet(token, joinDeps);
  const opened = openAgentCredential({ initial, store, mayWrite: () => true, clock: systemClock, random, log });
  if (!opened.ok) throw new Error(JSON.stringify(opened.error));
  const credential = opened.value;
  const remote = new RemoteRegistry({ ownCluster: initial.cluster, allowLoopback: true });
  const publisher = new Publisher(systemClock);
  const states: HubState[] = [];
  const onState = (state: HubState) => void states.push(state);
  const onStatusChange = () => () => undefined;
  const answer = () => Promise.resolve({});
  const deps = {
    credential,
    remote,
    publisher,
    status: () => status,
    answer,
    onStatusChange,
    onState,
    onSkew: () => undefined,
  };
  const running = runHubSession({ ...deps, clock: systemClock, random, log }, signal.signal);
  return {
    ...{ credential, store, remote, publisher, log, states },
    connected: () => states.at(-1)?.connected === true,
    stop: async () => {
      signal.abort(new Error("the test has ended"));
      await running;
    },
  };
}

function capacity(cluster: string, name: string, ready: number): RegistryRecord {
  return { kind: "capacity", cluster, namespace: "shop", name, ports: [{ port: 80, ready, total: ready }] };
}

const readyOf = (remote: RemoteRegistry, name: string) =>
  remote.records().flatMap((record) => (record.kind === "capacity" && record.name === name ? record.ports : []))[0]
    ?.ready;

// a busy machine is slow, not wrong: the deadlines are generous because they cost nothing when all is well
describe("an agent and a hub", { timeout: 90_000 }, () => {
  let hub: TestHub;
  let folder: string;
  let [east, west]: (Agent | undefined)[] = [];
  const agents = () => {
    if (east === undefined || west === undefined) throw new Error("agents did not start");
    return { east, west };
  };

  beforeAll(async () => {
    const data = await makeDataDir();
    folder = await mkdtemp(join(tmpdir(), "isthmus-agent-"));
    hub = await startTestHub({ data, allowLoopback: true }, true);
    east = await startAgent(await mkdtemp(join(folder, "east-")), await tokenFor(hub, "east"));
    west = await startAgent(await mkdtemp(join(folder, "west-")), await tokenFor(hub, "west"));
    await eventually(() => agents().east.connected() && agents().west.connected());
  }, 90_000);

  afterAll(async () => {
    await east?.stop();
    await west?.stop();
    await hub.stop();
    for (const path of [folder, hub.dataDir]) await rm(path, { recursive: true, force: true });
  });

  it("what one member publishes the other holds, never its own", async () => {
    agents().west.publisher.setDesired([capacity("west", "cart", 2), capacity("west", "basket", 1)]);
    agents().east.publisher.setDesired([capacity("east", "cart", 5)]);
    await eventually(() => agents().east.remote.records().length === 2);
    await eventually(() => agents().west.remote.records().length === 1);
    expect(
      agents()
        .east.remote.records()
        .map((record) => record.cluster),
    ).toEqual(["west", "west"]);
  });

  it("a change and a withdrawal travel as differences", async () => {
    agents().west.publisher.setDesired([capacity("west", "cart", 7)]);
    await eventually(() => readyOf(agents().east.remote, "cart") === 7);
    expect(agents().east.remote.records()).toHaveLength(1);
    await eventually(() => agents().west.publisher.isSettled());
  });

  it("an equal set is not sent again", async () => {
    const before = agents().west.publisher.ackedRevision();
    agents().west.publisher.setDesired([capacity("west", "cart", 7)]);
    agents().west.publisher.setDesired([capacity("west", "cart", 8)]);
    await eventually(() => readyOf(agents().east.remote, "cart") === 8);
    await eventually(() => agents().west.publisher.isSettled());
    expect(agents().west.publisher.ackedRevision()).toBe(before + 1);
  });

  it("a record that the hub refuses is told, and the others arrive", async () => {
    const foreign = capacity("north", "cart", 1);
    agents().west.publisher.setDesired([capacity("west", "cart", 9), foreign]);
    await eventually(() => readyOf(agents().east.remote, "cart") === 9);
    await eventually(() => agents().west.publisher.refused().length === 1);
    expect(agents().west.publisher.refused()[0]?.code).toBe("ISTHMUS_RECORD_FOREIGN");
    agents().west.publisher.setDesired([capacity("west", "cart", 9)]);
    expect(agents().west.publisher.refused()).toHaveLength(0);
  });

  it("certificates are renewed when asked for, the connection moves over, and nothing held is lost", async () => {
    const { west: agent } = agents();
    const before = agent.credential.state();
    const events = agent.states.length;
    agent.credential.renewSoon();
    await eventually(() => agent.credential.state().agentChainPem !== before.agentChainPem);
    expect(agent.credential.state().clusterCaChainPem).not.toBe(before.clusterCaChainPem);
    expect(agent.credential.state().agentKeyPem).not.toBe(before.agentKeyPem);
    const kept = await agent.store.load();
    expect(kept && encodeIdentity(kept)).toEqual(encodeIdentity(agent.credential.state()));
    agent.publisher.setDesired([capacity("west", "cart", 11)]);
    await eventually(() => readyOf(agents().east.remote, "cart") === 11);
    expect(agent.states.slice(events).filter((state) => !state.connected)).toEqual([]);
  });

  it("the hub is stopped and comes back on its address: what was held stays, what changed meanwhile arrives", async () => {
    const { dataDir, address } = hub;
    agents().west.publisher.setDesired([capacity("west", "cart", 21)]);
    await eventually(() => readyOf(agents().east.remote, "cart") === 21);
    agents().east.remote.onChange(() => {
      if (agents().east.remote.records().length === 0) throw new Error("held records were dropped");
    });
    await hub.stop();
    await eventually(() => !agents().east.connected());
    expect(readyOf(agents().east.remote, "cart")).toBe(21);
    agents().west.publisher.setDesired([capacity("west", "cart", 22)]);
    hub = await startTestHub({ data: dataDir, listen: address, allowLoopback: true });
    await eventually(() => readyOf(agents().east.remote, "cart") === 22);
    await eventually(() => agents().east.connected() && agents().west.publisher.isSettled());
  });
});
