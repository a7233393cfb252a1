// The ADS server: authenticates streams, finds their proxy class, and brings every stream of a class to its newest snapshot.
// Made by the composition root, which publishes snapshots and says when classes may have changed. It decides nothing about
// content. Nothing is answered before `open`: a half-loaded agent that answered would delete clusters from every proxy.
import { Server, status, type ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Clock } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import type { Result } from "../../shared/result.ts";
import type { Protocol } from "../xds/order.ts";
import type { ProxyClass } from "../xds/proxy.ts";
import type { ResourceType, Snapshot } from "../xds/resource.ts";
import { createResponseCache } from "./cache.ts";
import { newClass, publishTo, type ClassState } from "./classes.ts";
import { adsOptions, adsService } from "./definition.ts";
import { authenticate } from "./authenticate.ts";
import { createLineup, type Lineup } from "./lineup.ts";
import type { Answers } from "./load-messages.ts";
import { createLoadReports, loadService } from "./load-reports.ts";
import { decodeRequest } from "./messages.ts";
import { createOutgoing, type Outgoing } from "./outgoing.ts";
import { parsePeer, type AdsIdentity, type Peer } from "./peer.ts";
import { createTurnstile, type Turnstile } from "./turnstile.ts";
import { createStream, type AdsStream, type AdsTaps } from "./stream.ts";
import { CLOSE_GRACE_MS, MAX_AUTHENTICATIONS, refusalStatus, streamLifetimeMs } from "./limits.ts";

/** Key and meaning of a proxy class: streams with equal keys are served the same bytes. */
export interface PeerClass {
  readonly key: string;
  readonly proxy: ProxyClass;
}

export interface AdsServerDeps {
  /** Checks the bearer token. A rejection refuses the stream; a throw means "not now" and the client comes back. */
  readonly authenticate: (token: string) => Promise<Result<AdsIdentity>>;
  /** Undefined while the peer's pod is not known yet: the stream waits, and `reclassify` asks again. */
  readonly classify: (peer: Peer) => PeerClass | undefined;
  /** A class got its first stream and wants a snapshot; or lost its last one and needs none. */
  readonly onClass: (change: { readonly wanted: boolean; readonly proxyClass: PeerClass }) => void;
  readonly taps: AdsTaps;
  /** How the application beside a sidecar answered lately. */
  readonly onAnswers: (peer: Peer, answers: Answers) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly limits: AdsLimits;
}

export interface AdsLimits {
  /** A stream is ended after this at the latest, so that load returns to every replica and tokens are checked anew. */
  readonly maxStreamAgeMs: number;
}

/** A resource that stands refused: by its class, or by one proxy whose siblings accept it (`nodeId`). */
export interface StandingRefusal {
  readonly classKey: string;
  readonly type: ResourceType;
  readonly name: string;
  readonly errorText: string;
  readonly nodeId: string | undefined;
}

export interface AdsCounters {
  readonly streams: number;
  readonly classes: number;
  readonly quarantined: number;
  /** Responses that were encoded; each may have gone to many streams. */
  readonly encodes: number;
}

export interface AdsServer {
  /** Listens; returns the bound port. Requests are read from now on and answered after `open`. */
  listen(address: string, credentials: ServerCredentials): Promise<number>;
  /** Every source has delivered its first complete list. */
  open(): void;
  publish(classKey: string, snapshot: Snapshot): void;
  /** Pods may have changed: asks `classify` again for every stream. */
  reclassify(): void;
  /** Ends the streams of a deleted pod. */
  endPod(podUid: string): void;
  /** Ends every stream within `spreadMs`, so that clients move to another replica one after the other, then closes. */
  close(spreadMs: number): Promise<void>;
  streams(): readonly AdsStream[];
  classes(): readonly ClassState<AdsStream>[];
  counters(): AdsCounters;
  /** What is not served as published, for status: empty when every proxy has what it should. */
  refusals(): readonly StandingRefusal[];
}

type Call = ServerDuplexStream<Buffer, Buffer>;

interface Shell {
  readonly deps: AdsServerDeps;
  readonly classes: Map<string, ClassState<AdsStream>>;
  readonly proxies: Map<string, PeerClass>;
  readonly ends: Map<AdsStream, (reason: string) => void>;
  readonly cache: ReturnType<typeof createResponseCache>;
  readonly outgoing: Outgoing;
  readonly lineup: Lineup<AdsStream>;
  readonly turnstile: Turnstile;
}

export function createAdsServer(deps: AdsServerDeps): AdsServer {
  const cache = createResponseCache();
  const outgoing = createOutgoing();
  const shell: Shell = {
    deps,
    classes: new Map(),
    proxies: new Map(),
    ends: new Map(),
    cache,
    outgoing,
    lineup: createLineup<AdsStream>((stream) => stream.pump(), outgoing.hasRoom),
    turnstile: createTurnstile(MAX_AUTHENTICATIONS),
  };
  const server = new Server(adsOptions);
  const loads = createLoadReports(deps, shell.turnstile);
  server.addService(loadService, loads.handlers);
  server.addService(adsService, {
    DeltaAggregatedResources: (call: Call) => void serve(shell, call, "delta"),
    StreamAggregatedResources: (call: Call) => void serve(shell, call, "sotw"),
  });
  return {
    listen: (address, credentials) => listen(server, address, credentials),
    open: () => shell.lineup.open(),
    publish: (classKey, snapshot) => {
      const state = shell.classes.get(classKey);
      if (state === undefined || !publishTo(state, snapshot)) return;
      for (const stream of state.streams) shell.lineup.wake(stream);
    },
    reclassify: () => {
      for (const stream of shell.ends.keys()) classify(shell, stream);
    },
    endPod: (podUid) => {
      for (const [stream, end] of shell.ends) if (stream.peer.podUid === podUid) end("its pod was deleted");
    },
    close: (spreadMs) => {
      loads.end();
      return close(shell, server, spreadMs);
    },
    streams: () => [...shell.ends.keys()],
    classes: () => [...shell.classes.values()],
    counters: () => ({
      streams: shell.ends.size,
      classes: shell.classes.size,
      quarantined: [...shell.classes.values()].reduce((sum, state) => sum + state.quarantine.size, 0),
      encodes: cache.encodes,
    }),
    refusals: () => [...shell.classes.values()].flatMap(refusalsOf),
  };
}

function refusalsOf(state: ClassState<AdsStream>): readonly StandingRefusal[] {
  const common = [...state.quarantine.values()].map(({ resource: { type, name }, errorText }) => {
    return { classKey: state.key, type, name, errorText, nodeId: undefined };
  });
  const own = [...state.streams].flatMap(({ peer, state: { types } }) =>
    Object.values(types).flatMap(({ type, refused }) =>
      [...refused].map(([name, { errorText }]) => ({
        classKey: state.key,
        type,
        name,
        errorText,
        nodeId: peer.nodeId,
      })),
    ),
  );
  return [...common, ...own];
}

function listen(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => {
      if (error === null) resolve(port);
      else reject(new Error(`cannot listen for ADS on ${address}`, { cause: error }));
    });
  });
}

/** A stream's whole life. Messages that come while the token is being checked wait in gRPC's own window. */
async function serve(shell: Shell, call: Call, protocol: Protocol): Promise<void> {
  const gone = new AbortController();
  for (const event of ["cancelled", "error", "close"]) call.on(event, () => gone.abort());
  const identity = await shell.turnstile.enter(() => authenticate(shell.deps, call));
  if (gone.signal.aborted) return;
  if (!identity.ok) {
    call.emit("error", identity.error);
    return;
  }
  let stream: AdsStream | undefined;
  call.on("data", (bytes: Buffer) => {
    try {
      stream ??= start(shell, { call, protocol, identity: identity.value, first: bytes, gone });
      stream?.receive(bytes);
    } catch (error) {
      shell.deps.log.warn("ads stream sent bytes that are no request", {
        pod: identity.value.podName,
        error: String(error),
      });
      call.emit("error", refusalStatus(status.INVALID_ARGUMENT, "not a discovery request"));
    }
  });
  call.on("end", () => {
    gone.abort();
    call.end();
  });
}

interface Arrival {
  readonly call: Call;
  readonly protocol: Protocol;
  readonly identity: AdsIdentity;
  readonly first: Buffer;
  readonly gone: AbortController;
}

/** The first request names the node; undefined when that is not who the token says. */
function start(shell: Shell, { call, protocol, identity, first, gone }: Arrival): AdsStream | undefined {
  const { deps, lineup, cache, outgoing } = shell;
  const peer = parsePeer(decodeRequest(protocol, first).nodeId, identity);
  if (!peer.ok) {
    const reason = peer.error.map((problem) => problem.message).join("; ");
    deps.log.warn("ads stream refused", { peer: call.getPeer(), reason });
    call.emit("error", refusalStatus(status.PERMISSION_DENIED, reason));
    return undefined;
  }
  const { clock, taps } = deps;
  const stream = createStream({ protocol, peer: peer.value, call, cache, outgoing, clock, taps, wake: lineup.wake });
  call.on("drain", () => stream.drained());
  const end = (reason: string) => {
    deps.log.debug("ads stream ended", { node: peer.value.nodeId, reason });
    call.end();
    gone.abort();
  };
  shell.ends.set(stream, end);
  gone.signal.addEventListener("abort", () => leave(shell, stream), { once: true });
  endInTime(deps, stream, end, gone.signal);
  classify(shell, stream);
  return stream;
}

function endInTime(deps: AdsServerDeps, stream: AdsStream, end: (reason: string) => void, signal: AbortSignal): void {
  const { clock, random, limits } = deps;
  const lifetimeMs = streamLifetimeMs(stream.peer.expiresAtMs - clock.now(), limits.maxStreamAgeMs, random());
  clock.sleep(lifetimeMs, signal).then(
    () => end("its token or age ran out"),
    () => undefined, // the stream ended first
  );
}

function leave(shell: Shell, stream: AdsStream): void {
  shell.ends.delete(stream);
  shell.lineup.forget(stream);
  join(shell, stream, undefined);
}

/** Puts the stream into the class that its peer has now. A peer that is not known keeps what it has. */
function classify(shell: Shell, stream: AdsStream): void {
  const found = shell.deps.classify(stream.peer);
  if (found === undefined || found.key === stream.proxyClass?.key) return;
  join(shell, stream, found);
  shell.lineup.wake(stream);
}

function join(shell: Shell, stream: AdsStream, to: PeerClass | undefined): void {
  const from = stream.proxyClass;
  stream.proxyClass = undefined;
  if (to !== undefined) {
    const state = shell.classes.get(to.key) ?? newClass<AdsStream>(to.key);
    stream.proxyClass = state;
    state.streams.add(stream);
    if (!shell.classes.has(to.key)) {
      shell.classes.set(to.key, state);
      shell.proxies.set(to.key, to);
      shell.deps.onClass({ wanted: true, proxyClass: to });
    }
  }
  from?.streams.delete(stream);
  const left = from?.streams.size === 0 ? shell.proxies.get(from.key) : undefined;
  if (left === undefined) return;
  shell.classes.delete(left.key);
  shell.proxies.delete(left.key);
  shell.deps.onClass({ wanted: false, proxyClass: left });
}

async function close(shell: Shell, server: Server, spreadMs: number): Promise<void> {
  const never = new AbortController().signal;
  const ends = [...shell.ends.values()];
  // first of all no new streams: a proxy whose stream is ended opens another within 0.1 s, over the same connection if it may
  const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  for (const end of ends) {
    end("the agent is stopping");
    await shell.deps.clock.sleep(spreadMs / ends.length, never);
  }
  // one whose token was being checked all the while was not among those that were ended
  const overdue = setTimeout(() => server.forceShutdown(), CLOSE_GRACE_MS);
  await closed;
  clearTimeout(overdue);
}
