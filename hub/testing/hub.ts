// A whole hub for one test file: its own data folder, embedded Redis, TLS and ports on loopback; and agents that join it,
// publish and watch over real gRPC.
import { credentials } from "@grpc/grpc-js";
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../shared/clock.ts";
import type {
  JoinReply,
  JoinRequest,
  PublishAck,
  PublishBatch,
  WatchEvent,
  WatchRequest,
} from "../../shared/grpc/fleet-messages.ts";
import { createFleetClient, type FleetClient } from "../../shared/grpc/fleet-service.ts";
import { readFleetError } from "../../shared/grpc/fleet-status.ts";
import { parseFleetDomain } from "../../shared/ids.ts";
import { parseJoinToken } from "../../shared/join-token.ts";
import { generateKeyPem } from "../../shared/pki/key.ts";
import { chainPem } from "../../shared/pki/pem.ts";
import { buildRequest } from "../../shared/pki/x509-builder.ts";
import { initAuthority } from "../ca/authority.ts";
import { parseHubOptions, type HubOptions } from "../config.ts";
import { writeHubFile } from "../hub-file.ts";
import { runHub } from "../main.ts";
import { askOperator } from "../operator-client.ts";
import { capturedLog, type CapturedLog } from "./redis.ts";

export interface TestHub {
  readonly dataDir: string;
  readonly address: string;
  readonly http: string;
  /** Port of the SPIFFE bundle endpoint; 0: there is none. */
  readonly bundlePort: number;
  readonly log: CapturedLog;
  /** Calls the operator's API. */
  operator(method: "GET" | "POST", path: string, body?: unknown): Promise<Record<string, unknown>>;
  tokenFor(cluster: string, rejoin?: boolean): Promise<string>;
  stop(): Promise<void>;
}

export async function makeDataDir(domain = "acme.mesh"): Promise<string> {
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), "isthmus-hub-")));
  const fleet = parseFleetDomain(domain);
  if (!fleet.ok) throw new Error("test fleet");
  const serverNames = { dnsNames: ["localhost"], ipAddresses: ["127.0.0.1"] };
  await initAuthority(dataDir, { fleetDomain: fleet.value, serverNames, clock: systemClock });
  await writeHubFile(dataDir, "127.0.0.1:8443");
  return dataDir;
}

export async function startTestHub(options: Partial<HubOptions> = {}, keepData = false): Promise<TestHub> {
  const dataDir = options.data ?? (await makeDataDir());
  const config = await parseHubOptions({ listen: "127.0.0.1:0", http: "127.0.0.1:0", ...options, data: dataDir });
  const log = capturedLog();
  const ending = new AbortController();
  const started = Promise.withResolvers<{ grpc: number; http: number; bundle?: number }>();
  const deps = { clock: systemClock, log, version: "test", onReady: started.resolve };
  const running = runHub(config, ending.signal, deps);
  const ports = await Promise.race([
    started.promise,
    running.then(() => {
      throw new Error("the hub ended at once");
    }),
  ]);
  const operator: TestHub["operator"] = (method, path, body) => askOperator(dataDir, { method, path, body });
  return {
    dataDir,
    address: `127.0.0.1:${ports.grpc}`,
    http: `http://127.0.0.1:${ports.http}`,
    bundlePort: ports.bundle ?? 0,
    log,
    operator,
    tokenFor: async (cluster, rejoin = false) =>
      String((await operator("POST", "/v1/tokens", { cluster, rejoin }))["token"]),
    stop: async () => {
      ending.abort(new Error("the test has ended"));
      await running;
      if (!keepData) await rm(dataDir, { recursive: true, force: true });
    },
  };
}

export interface Keys {
  readonly agentKeyPem: string;
  readonly clusterCaKeyPem: string;
}

export function newKeys(): Keys {
  return { agentKeyPem: generateKeyPem(), clusterCaKeyPem: generateKeyPem() };
}

export async function joinRequest(tokenText: string, keys: Keys): Promise<JoinRequest> {
  const token = parseJoinToken(tokenText);
  if (!token.ok) throw new Error(token.error[0]?.message);
  return {
    tokenId: token.value.id,
    tokenSecret: token.value.secret,
    agentCsrDer: await buildRequest(keys.agentKeyPem),
    clusterCaCsrDer: await buildRequest(keys.clusterCaKeyPem),
    agentVersion: "test",
  };
}

/** The hub is verified by its pin in an agent; these tests are about the hub, so any certificate is taken. */
const anyHub = { rejectUnauthorized: false, checkServerIdentity: () => undefined };

export function anonymousClient(address: string): FleetClient {
  return createFleetClient(address, credentials.createSsl(null, null, null, anyHub));
}

export interface TestAgent {
  readonly cluster: string;
  readonly keys: Keys;
  readonly reply: JoinReply;
  readonly client: FleetClient;
}

export function clientOf(address: string, keys: Keys, agentChainDer: readonly Uint8Array[]): FleetClient {
  const chain = Buffer.from(chainPem(agentChainDer));
  const key = Buffer.from(keys.agentKeyPem);
  return createFleetClient(address, credentials.createSsl(null, key, chain, anyHub));
}

export async function joinAgent(hub: TestHub, cluster: string, token?: string): Promise<TestAgent> {
  const keys = newKeys();
  const joining = anonymousClient(hub.address);
  const reply = await joining.join(await joinRequest(token ?? (await hub.tokenFor(cluster)), keys));
  joining.close();
  return { cluster, keys, reply, client: clientOf(hub.address, keys, reply.agentChainDer) };
}

/** A stream's messages, awaited one by one; ends or fails as the stream does. */
export interface Received<T> {
  next(): Promise<T>;
  /** All messages up to and with the first that fits. */
  nextUntil(fits: (message: T) => boolean): Promise<readonly T[]>;
  cancel(): void;
}

interface Source<T> {
  on(event: "data", listener: (message: T) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  cancel(): void;
}

export function received<T>(source: Source<T>, deadlineMs = 30_000): Received<T> {
  const waiting: T[] = [];
  let failure: Error | undefined;
  let wake = (): void => undefined;
  source.on("data", (message) => {
    waiting.push(message);
    wake();
  });
  source.on("error", (error) => {
    failure = error;
    wake();
  });
  source.on("end", () => {
    failure ??= new Error("the stream has ended");
    wake();
  });
  const next = async (): Promise<T> => {
    const overdue = setTimeout(() => {
      failure ??= new Error(`nothing within ${deadlineMs} ms`);
      wake();
    }, deadlineMs);
    try {
      while (waiting.length === 0 && failure === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      clearTimeout(overdue);
    }
    const message = waiting.shift();
    if (message === undefined) throw failure ?? new Error("no message");
    return message;
  };
  return {
    next,
    nextUntil: async (fits) => {
      const messages: T[] = [];
      do messages.push(await next());
      while (!fits(messages.at(-1)!));
      return messages;
    },
    cancel: () => source.cancel(),
  };
}

export function watch(agent: TestAgent, request: Partial<WatchRequest> = {}): Received<WatchEvent> {
  return received(agent.client.watch({ incarnation: "", revision: 0, ...request }));
}

export interface TestPublisher extends Received<PublishAck> {
  send(batch: Partial<PublishBatch>): number;
  finish(): void;
}

export function publish(agent: TestAgent, session = "session-1", startedAtMs = Date.now()): TestPublisher {
  const stream = agent.client.publish();
  let sequence = 0;
  const acks = received<PublishAck>(stream);
  return {
    ...acks,
    send: (batch) => {
      sequence += 1;
      stream.write({ session, startedAtMs, sequence, puts: [], deleteKeys: [], synced: false, ...batch });
      return sequence;
    },
    finish: () => stream.end(),
  };
}

/** The code that a call is refused with; "no error" when it is not. */
export function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "no error",
    (error: unknown) => readFleetError(error).code,
  );
}
