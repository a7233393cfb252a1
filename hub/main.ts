// Composition root of the hub: builds the parts from the configuration and runs them until the signal aborts. Called by
// `isthmus hub`. Nothing else constructs a hub.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { systemClock, type Clock } from "../shared/clock.ts";
import { parseClusterName } from "../shared/ids.ts";
import { runTasks, type Task } from "../shared/lifecycle.ts";
import { jsonLog, type Log } from "../shared/log.ts";
import { adminApp, listenHttp, type HttpListener, type Readiness } from "./api/admin-http.ts";
import { authenticator } from "./api/caller.ts";
import { listenFleet, type FleetListener } from "./api/grpc-server.ts";
import { hubMetrics, observe } from "./api/metrics.ts";
import { operatorApp } from "./api/operator-api.ts";
import { MemberQuestions } from "./api/member-questions.ts";
import { RotationDriver } from "./api/rotation.ts";
import { SigningWatch } from "./api/signing-watch.ts";
import { Sessions } from "./api/sessions.ts";
import { openAuditLog, type AuditLog } from "./audit/log.ts";
import { openAuthority, type Authority } from "./ca/authority.ts";
import { createSigningPool } from "../shared/pki/signing-pool.ts";
import type { HubConfig } from "./config.ts";
import { watchDataFolder, type FolderWatch } from "./folder-watch.ts";
import { readHubFile } from "./hub-file.ts";
import { operatorSocketName } from "./operator-client.ts";
import { listenOperator, refuseSecondHub } from "./operator-socket.ts";
import { startEmbeddedRedis, type EmbeddedRedis } from "./store/embedded-redis.ts";
import { listenBundle, type BundleEndpoint } from "./federation/bundle-endpoint.ts";
import { Federation } from "./federation/federation.ts";
import { openDepartures } from "./store/departures.ts";
import { openStore, type Store } from "./store/open-store.ts";
import { scriptModeFor } from "./store/redis-version.ts";
import { openRevisionMemory } from "./store/revision-memory.ts";

const renewCheckMs = 60_000;

export interface HubDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  /** Told once everything listens: the ports, for callers that asked for port 0. */
  readonly onReady?: (ports: { readonly grpc: number; readonly http: number; readonly bundle?: number }) => void;
}

export function hubDeps(config: HubConfig, version: string): HubDeps {
  const log = jsonLog(config.logLevel, (line) => process.stderr.write(line), { program: "hub" });
  return { clock: systemClock, log, version };
}

/** Runs until `signal` aborts, then drains. Throws UserError for what an operator can mend. */
export async function runHub(config: HubConfig, signal: AbortSignal, deps: HubDeps): Promise<void> {
  const { clock, log } = deps;
  const { dataDir } = config;
  const hubFile = await readHubFile(dataDir);
  const { agentTtlMs, clusterCaTtlMs, rootTtlMs, serverTtlMs } = config;
  const pool = createSigningPool();
  const authority = await openAuthority(dataDir, clock, { agentTtlMs, clusterCaTtlMs, rootTtlMs, serverTtlMs, pool });
  const socketPath = join(dataDir, operatorSocketName);
  await refuseSecondHub(socketPath);
  const embedded = config.redis === undefined ? await startEmbeddedRedis({ dataDir, clock, log }) : undefined;
  const redisEnds = new AbortController();
  const redisRun = embedded?.run(redisEnds.signal);
  try {
    const memory = await openRevisionMemory(dataDir, clock, log);
    const audit = await openAuditLog(dataDir, clock, log);
    const store = await openStore({
      target: config.redis ?? { kind: "socket", path: embedded?.socketPath ?? "" },
      dataDir,
      scriptMode: embedded === undefined ? undefined : scriptModeFor(embedded.version),
      fleet: authority.fleetDomain,
      pepper: hubFile.pepper,
      rules: { allowLoopback: config.allowLoopback },
      memory,
      clock,
      log,
    });
    try {
      const advertise = config.advertise ?? hubFile.advertise;
      const parts = await listen({ config, deps, authority, store, audit, advertise, socketPath });
      log.info("the hub runs", {
        fleet: authority.fleetDomain,
        advertise,
        grpcPort: parts.fleet.port,
        httpPort: parts.http.port,
        redis: embedded === undefined ? "given" : `embedded ${embedded.version.text}`,
      });
      const bundle = parts.endpoint === undefined ? {} : { bundle: parts.endpoint.port };
      deps.onReady?.({ grpc: parts.fleet.port, http: parts.http.port, ...bundle });
      await runTasks(signal, tasks({ authority, store, deps, parts, runMemory: memory.run }, redisRun));
    } finally {
      store.close();
      await audit.close();
      await rm(socketPath, { force: true });
    }
  } finally {
    await pool.close();
    // last of all: what the drain still writes must find Redis alive
    redisEnds.abort(new Error("the hub has ended"));
    await endOf(redisRun);
  }
}

async function endOf(redisRun: ReturnType<EmbeddedRedis["run"]> | undefined): Promise<void> {
  await redisRun?.catch((error: unknown) => {
    if ((error as Error).message !== "the hub has ended") throw error;
  });
}

interface Parts {
  readonly rotation: RotationDriver;
  readonly signing: SigningWatch;
  readonly federation: Federation;
  readonly endpoint: BundleEndpoint | undefined;
  readonly fleet: FleetListener;
  readonly http: HttpListener;
  readonly operator: HttpListener;
  readonly folder: FolderWatch;
}

interface ListenInput {
  readonly config: HubConfig;
  readonly deps: HubDeps;
  readonly authority: Authority;
  readonly store: Store;
  readonly audit: AuditLog;
  readonly advertise: string;
  readonly socketPath: string;
}

async function listen({ config, deps, authority, store, audit, advertise, socketPath }: ListenInput): Promise<Parts> {
  const { clock, log, version } = deps;
  const metrics = hubMetrics();
  const sessions = new Sessions();
  const questions = new MemberQuestions();
  const { live, registry, members, tokens } = store;
  const signing = new SigningWatch({ authority, audit, clock, log });
  observe(metrics, {
    ...storeGauges(store),
    rotation: () => rotation.state(),
    signing: () => signing.problems().map(({ code }) => code),
    issuingCaLifeOver: () => authority.issuingCaLifeOver(),
    sessions: (kind) => sessions.count(kind),
  });
  const departures = await openDepartures(config.dataDir);
  const { fleetDomain, isRevoked } = authority;
  const authenticate = authenticator({ fleet: fleetDomain, members, isRevoked, hasLeft: departures.has });
  const rules = {
    allowLoopback: config.allowLoopback,
    maxRecords: config.maxRecordsPerMember,
    maxPolicies: config.maxPoliciesPerMember,
  };
  const joining = { authority, tokens, members, departures, authenticate, audit, clock, log, metrics };
  const publishing = { registry, live, rules, clock, log, metrics };
  const rotation = openRotation({ config, deps, authority, store, audit }, () => fleet);
  const fleet = await listenFleet(
    { authority, store, authenticate, sessions, questions, joining, publishing, rotation, clock, log },
    config.listen,
  );
  const folder = watchDataFolder({ dataDir: config.dataDir, clock, log });
  const http = await listenHttp(
    adminApp(metrics, () => readiness(store, folder)),
    config.http,
  );
  const { bundleChanged } = fleet;
  const { dataDir } = config;
  const federation = new Federation({ authority, audit, clock, log, bundleChanged, refreshMs: config.bundleRefreshMs });
  const operating = {
    authority,
    store,
    departures,
    audit,
    advertise,
    version,
    dataDir,
    questions,
    rotation,
    signing,
    federation,
    clock,
    log,
    bundleChanged,
  };
  const endpoint = await bundleEndpoint(config, { authority, federation, live, clock });
  const operator = await listenOperator(operatorApp(operating), socketPath);
  return { fleet, http, operator, rotation, signing, federation, endpoint, folder };
}

function storeGauges(store: Store) {
  const { live } = store;
  return {
    records: () => live.view?.size ?? 0,
    members: () => [...live.members.values()].filter(({ member }) => member.state === "accepted").length,
    revision: () => live.view?.revision ?? 0,
    redisConnected: () => live.connected,
    restored: () => live.restored,
    restores: () => store.restores(),
    corruptRecords: () => live.corruptRecords,
    tamperedMembers: () => store.tampered(),
  };
}

/** `fleet` is asked when something has changed: it cannot listen before it knows whom reports go to. */
function openRotation(
  { config, deps, authority, store, audit }: Pick<ListenInput, "config" | "deps" | "authority" | "store" | "audit">,
  fleet: () => FleetListener,
): RotationDriver {
  const trustChanged = ({ cut }: { readonly cut: boolean }) => {
    fleet().reloadTls();
    fleet().bundleChanged();
    if (cut) fleet().verifyAnew();
  };
  const { clock, log } = deps;
  return new RotationDriver({
    ...{ authority, live: store.live, audit, clock, log, trustChanged },
    skewMs: config.retireSkewMs,
  });
}

interface EndpointInput {
  readonly authority: Authority;
  readonly federation: Federation;
  readonly live: Store["live"];
  readonly clock: Clock;
}

async function bundleEndpoint(
  { bundleEndpoint: at }: HubConfig,
  input: EndpointInput,
): Promise<BundleEndpoint | undefined> {
  if (at === undefined) return undefined;
  const { authority, federation, live, clock } = input;
  const isMember = (name: string) => {
    const cluster = parseClusterName(name);
    return (
      cluster.ok && live.members.get(cluster.value)?.member.state === "accepted" && !authority.isRevoked(cluster.value)
    );
  };
  return listenBundle(at, { authority, ownBundle: () => federation.ownBundle(), isMember, clock });
}

function readiness({ live }: Store, folder: FolderWatch): Readiness {
  if (folder.problem() !== "") return { ready: false, reason: folder.problem() };
  if (live.view === undefined) return { ready: false, reason: "no snapshot of the registry yet" };
  if (!live.connected) return { ready: false, reason: "redis is away; watchers keep the last state" };
  return { ready: true, reason: "" };
}

interface TaskInput {
  readonly authority: Authority;
  readonly store: Store;
  readonly deps: HubDeps;
  readonly parts: Parts;
  readonly runMemory: (signal: AbortSignal) => Promise<void>;
}

function tasks(input: TaskInput, redisRun: Promise<void> | undefined): readonly Task[] {
  const { authority, store, deps, parts, runMemory } = input;
  const { endpoint } = parts;
  return [
    parts.folder.task,
    { name: "change-feed", run: (signal) => store.runFeed(signal) },
    { name: "revision-memory", run: runMemory },
    { name: "grpc", run: (signal) => parts.fleet.run(signal) },
    { name: "http", run: (signal) => closeAtEnd([parts.http, parts.operator], signal) },
    { name: "rotation", run: (signal) => parts.rotation.run(signal) },
    { name: "signing", run: (signal) => parts.signing.run(signal) },
    { name: "federation", run: (signal) => parts.federation.run(signal) },
    ...(endpoint === undefined
      ? []
      : [{ name: "bundle-endpoint", run: (signal: AbortSignal) => endpoint.run(signal) }]),
    { name: "server-certificate", run: (signal) => renewServer(authority, parts.fleet, deps, signal) },
    ...(redisRun === undefined ? [] : [{ name: "redis", run: (signal: AbortSignal) => failWith(redisRun, signal) }]),
  ];
}

/** Redis outlives the other tasks, so it runs beside them; its failure must still end the hub. */
async function failWith(redisRun: Promise<void>, signal: AbortSignal): Promise<void> {
  await Promise.race([redisRun, aborted(signal)]);
}

async function closeAtEnd(listeners: readonly HttpListener[], signal: AbortSignal): Promise<void> {
  await aborted(signal);
  await Promise.all(listeners.map((listener) => listener.close()));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

async function renewServer(
  authority: Authority,
  fleet: FleetListener,
  { clock, log }: HubDeps,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.sleep(renewCheckMs, signal);
    if (!(await authority.renewServer())) continue;
    fleet.reloadTls();
    log.info("the hub's certificate was renewed");
  }
}
