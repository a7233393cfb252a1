// The hub's gRPC listener: TLS with a client certificate asked for but not demanded (a joining agent has none), and the
// methods of the Fleet service wired to the parts that answer them.
import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ServerDuplexStream,
  type ServerWritableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import type { SecureContextOptions } from "node:tls";
import type { PublishAck, PublishBatch, WatchEvent, WatchRequest } from "../../shared/grpc/fleet-messages.ts";
import type { MemberAnswer, MemberQuestion } from "../../shared/grpc/question-messages.ts";
import { fleetService, type FleetServer } from "../../shared/grpc/fleet-service.ts";
import { fleetError } from "../../shared/grpc/fleet-status.ts";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { Log } from "../../shared/log.ts";
import type { Authority } from "../ca/authority.ts";
import type { Store } from "../store/open-store.ts";
import { toServiceError, unary } from "./call.ts";
import { refusedMember, type Authenticate, type Caller } from "./caller.ts";
import { join, renew, type JoinDeps } from "./join.ts";
import { changeMembership } from "./membership.ts";
import type { MemberQuestions } from "./member-questions.ts";
import { PublishSession, type PublishDeps } from "./publish.ts";
import type { RotationDriver } from "./rotation.ts";
import type { Sessions } from "./sessions.ts";
import { EventBytes, Watcher } from "./watch.ts";

const bookmarkEveryMs = 10_000;
const maxMessageBytes = 4 * 1024 * 1024;
/** After these the listener gives up a client that stalls its handshake. */
const handshakeTimeoutMs = 10_000;
/** For calls under way when every connection is made anew. */
const drainGraceMs = 2_000;

export interface FleetServerDeps {
  readonly authority: Authority;
  readonly store: Store;
  readonly authenticate: Authenticate;
  readonly sessions: Sessions;
  readonly questions: MemberQuestions;
  readonly joining: Omit<JoinDeps, "bundleChanged">;
  readonly publishing: PublishDeps;
  readonly rotation: RotationDriver;
  readonly clock: Clock;
  readonly log: Log;
}

class HubCredentials extends ServerCredentials {
  constructor(context: SecureContextOptions) {
    // an unverified certificate counts as none: getAuthContext gives only what the handshake authorised
    super({ requestCert: true, rejectUnauthorized: false, handshakeTimeout: handshakeTimeoutMs }, context);
  }

  /** For new connections; open ones go on. */
  replace(context: SecureContextOptions): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}

function secureContext(authority: Authority): SecureContextOptions {
  const { keyPem, chainPem } = authority.server();
  return { key: keyPem, cert: chainPem, ca: authority.rootsPem(), minVersion: "TLSv1.2" };
}

export interface FleetListener {
  readonly port: number;
  /** The hub's certificate or the roots changed. */
  reloadTls(): void;
  /**
   * Ends all connections, each after what is under way on it: agents come back at once, and what they show is verified against
   * the roots as they are now. A root that is gone would else live on in connections that were made under it.
   */
  verifyAnew(): void;
  /** The bundle is another: every watcher is sent it, and who is revoked by it is cut off. */
  readonly bundleChanged: () => void;
  /** Task: sends bookmarks, ends sessions of former members; at the end drains. */
  run(signal: AbortSignal): Promise<void>;
}

export async function listenFleet(deps: FleetServerDeps, address: string): Promise<FleetListener> {
  const server = new Server({
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.max_concurrent_streams": 256,
  });
  const watchers = new Set<Watcher>();
  const bundleChanged = () => {
    endFormerMembers(deps);
    for (const watcher of watchers) watcher.pump();
  };
  server.addService(fleetService, fleetMethods({ ...deps, joining: { ...deps.joining, bundleChanged } }, watchers));
  const credentials = new HubCredentials(secureContext(deps.authority));
  const port = await bind(server, address, credentials);
  return {
    port,
    reloadTls: () => credentials.replace(secureContext(deps.authority)),
    verifyAnew: () => {
      deps.sessions.endWhere(() => draining());
      server.drain(address.replace(/:0$/, `:${port}`), drainGraceMs);
    },
    bundleChanged,
    run: async (signal) => {
      const { sessions, store, clock } = deps;
      const stop = store.live.subscribe(() => endFormerMembers(deps));
      try {
        for (;;) {
          await clock.sleep(bookmarkEveryMs, signal);
          for (const watcher of watchers) watcher.bookmark();
        }
      } finally {
        stop();
        sessions.endWhere(() => draining());
        await shutDown(server);
      }
    },
  };
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (cause, port) => {
      if (cause === null) resolve(port);
      else {
        reject(
          new UserError("ISTHMUS_LISTEN", `cannot listen on ${address}`, {
            cause,
            hint: "another program has the port, or the address is not of this machine: see --listen",
          }),
        );
      }
    });
  });
}

function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const overdue = setTimeout(() => server.forceShutdown(), 3_000);
    server.tryShutdown(() => {
      clearTimeout(overdue);
      resolve();
    });
  });
}

function draining(): ServiceError {
  return fleetError({
    status: status.UNAVAILABLE,
    code: "ISTHMUS_HUB_DRAINING",
    message: "the hub restarts; connect again",
  });
}

function endFormerMembers({ sessions, store, authority, joining }: FleetServerDeps): void {
  sessions.endWhere(({ cluster }) => {
    const { departures } = joining;
    if (authority.isRevoked(cluster)) return refusedMember(cluster, departures.has(cluster) ? "left" : "revoked");
    const state = store.live.members.get(cluster)?.member.state;
    return state === "accepted" || state === undefined ? undefined : refusedMember(cluster, state);
  });
}

type MethodDeps = FleetServerDeps & { readonly joining: JoinDeps };

function fleetMethods(deps: MethodDeps, watchers: Set<Watcher>): FleetServer {
  const { log, joining, store, clock, authenticate, rotation } = deps;
  const bytes = new EventBytes();
  return {
    Join: unary(log, (call) => join(joining, call.request)),
    Renew: unary(log, (call) => renew(joining, call)),
    Leave: unary(log, async (call) => {
      const { cluster } = await authenticate(call);
      await changeMembership({ ...deps, ...store, ...joining }, "leave", cluster, `cluster:${cluster}`);
      return {};
    }),
    Report: unary(log, async (call) => {
      const { cluster } = await authenticate(call);
      await store.reports.store(cluster, call.request, clock.now());
      return { renewNow: rotation.report(cluster, call.request), nowMs: clock.now() };
    }),
    Publish: (call) => {
      void servePublish(deps, call);
    },
    Watch: (call) => {
      void serveWatch(deps, call, { watchers, bytes });
    },
    Answer: (call) => {
      void serveAnswer(deps, call);
    },
  };
}

type PublishCall = ServerDuplexStream<PublishBatch, PublishAck>;

async function servePublish(deps: FleetServerDeps, call: PublishCall): Promise<void> {
  const ending = new AbortController();
  call.on("cancelled", () => ending.abort(new Error("the stream was cancelled")));
  try {
    const { cluster } = await deps.authenticate(call);
    const session = new PublishSession(deps.publishing, cluster, call, ending.signal);
    // nothing is read from the stream before this: an unknown caller's messages stay in its own buffers
    call.on("data", (batch: PublishBatch) => session.receive(batch));
    call.on("end", () => session.finish());
    const end = (reason: ServiceError) => {
      call.emit("error", reason);
      ending.abort(reason);
    };
    const leave = deps.sessions.add({ kind: "publish", cluster, end });
    await session.runWrites().finally(leave);
    if (!ending.signal.aborted) call.end();
  } catch (error) {
    if (!ending.signal.aborted) call.emit("error", toServiceError(error, deps.log));
  }
}

type WatchCall = ServerWritableStream<WatchRequest, WatchEvent | Uint8Array>;

interface WatchShared {
  readonly watchers: Set<Watcher>;
  readonly bytes: EventBytes;
}

async function serveWatch(deps: FleetServerDeps, call: WatchCall, { watchers, bytes }: WatchShared): Promise<void> {
  const { store, authority, joining, sessions } = deps;
  let caller: Caller;
  try {
    caller = await deps.authenticate(call);
  } catch (error) {
    call.emit("error", toServiceError(error, deps.log));
    return;
  }
  if (call.cancelled) return;
  const { cluster } = caller;
  const watcher = new Watcher(
    {
      view: () => store.live.view,
      bundle: () => authority.bundle(),
      bytes,
      onResync: (reason) => joining.metrics.resyncs.inc({ reason }),
      write: (event) => call.write(event),
    },
    cluster,
    call.request,
  );
  watchers.add(watcher);
  const stopListening = store.live.subscribe(() => watcher.pump());
  const leave = () => {
    stopListening();
    watchers.delete(watcher);
    leaveSessions();
  };
  const end = (reason: ServiceError) => {
    leave();
    call.emit("error", reason);
  };
  const leaveSessions = sessions.add({ kind: "watch", cluster, end });
  call.on("cancelled", leave);
  call.on("drain", () => watcher.drained());
  watcher.pump();
}

type AnswerCall = ServerDuplexStream<MemberAnswer, MemberQuestion>;

/** Stays open for as long as the agent is there: questions go out when people ask. */
async function serveAnswer(deps: FleetServerDeps, call: AnswerCall): Promise<void> {
  let caller: Caller;
  try {
    caller = await deps.authenticate(call);
  } catch (error) {
    call.emit("error", toServiceError(error, deps.log));
    return;
  }
  if (call.cancelled) return;
  const { cluster } = caller;
  const line = deps.questions.open(cluster, (question) => call.write(question));
  const leave = () => {
    line.leave();
    leaveSessions();
  };
  const end = (reason: ServiceError) => {
    leave();
    call.emit("error", reason);
  };
  const leaveSessions = deps.sessions.add({ kind: "answer", cluster, end });
  call.on("cancelled", leave);
  call.on("data", line.answered);
  call.on("end", () => {
    leave();
    call.end();
  });
  // the agent learns that its stream was taken
  call.sendMetadata(new Metadata());
}
