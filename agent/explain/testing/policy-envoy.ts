// One real Envoy that is the sidecar of every workload of many policy sets at once: what the translation made for each is renamed
// apart and put into one bootstrap. Certificates are real, so a verdict is compared with what mutual TLS and RBAC really answer.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { connect, createServer as createTcpServer, type Server as TcpServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { buildIr } from "../../ir/build.ts";
import type { MeshIr } from "../../ir/types.ts";
import { classify } from "../../push/classify.ts";
import { staticBootstrap } from "../../push/testing/static-bootstrap.ts";
import type { ProxyTrust } from "../../xds/proxy.ts";
import {
  resourceTypes,
  type JsonMessage,
  type JsonValue,
  type ResourceSet,
  type ResourceType,
} from "../../xds/resource.ts";
import { testFleet, type TestFleet } from "../../xds/testing/certificates.ts";
import { ownGround } from "../../../shared/testing/ground.ts";
import { eventually, start, type Running } from "../../xds/testing/envoy.ts";
import { defaultSettings, translate } from "../../xds/translate.ts";
import type { CallHttp } from "../request.ts";
import type { Principal } from "../server.ts";
import {
  policySet,
  servicePorts,
  workloads,
  type Place,
  type Policy,
  type PolicySet,
  type SetCall,
} from "./policy-sets.ts";

/**
 * What came back: an HTTP status, or for raw TCP whether the application's word arrived. Status 0: no connection; who is revoked is
 * refused in the handshake.
 */
export type Answer = { readonly status: number; readonly location: string } | { readonly answered: boolean };

const WORD = "welcome";
const CALL_MS = 20_000;
const gateway = { namespace: "isthmus-system", serviceAccount: "isthmus-gateway" };

export interface LoadedSet extends PolicySet {
  readonly ir: MeshIr;
  readonly place: Place;
}

export class PolicyEnvoy {
  readonly #dir = mkdtempSync(join(tmpdir(), "isthmus-verdict-"));
  readonly #fleet: TestFleet = testFleet(this.#dir, "acme.mesh");
  readonly #trusts = new Map<string, ProxyTrust>();
  readonly #binary: string;
  readonly #http: Server;
  readonly #tcp: TcpServer;
  /** The first bytes of this run's addresses: several runs share one machine. */
  #net = "";
  readonly sessions = new Set<ClientHttp2Session>();
  #proxy: Running | undefined;

  constructor(binary: string) {
    this.#binary = binary;
    this.#http = createServer((_request, response) => response.end("here"));
    this.#tcp = createTcpServer((socket: Socket) => {
      socket.on("error", () => undefined);
      // before it is asked: what must not be answered must not be greeted either
      socket.write(WORD);
    });
  }

  async open(): Promise<void> {
    this.#net = (await ownGround()).net;
    for (const server of [this.#http, this.#tcp])
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  }

  #place(index: number): Place {
    const port = (server: Server | TcpServer) => (server.address() as { readonly port: number }).port;
    const addressOf = (name: string) =>
      `${this.#net}.${index}.${1 + workloads.indexOf(name as (typeof workloads)[number])}`;
    return { addressOf, httpPort: port(this.#http), tcpPort: port(this.#tcp) };
  }

  #trust({ cluster, namespace, serviceAccount }: Principal): ProxyTrust {
    const key = `${cluster}/${namespace}/${serviceAccount}`;
    const trust = this.#trusts.get(key) ?? this.#fleet.svid(cluster, namespace, serviceAccount);
    this.#trusts.set(key, trust);
    return trust;
  }

  /** Another Envoy, with these sets alone. */
  async load(policies: readonly Policy[]): Promise<readonly LoadedSet[]> {
    await this.#stop();
    const sets = policies.map((drawn, index): LoadedSet => {
      const place = this.#place(index);
      const set = policySet(drawn, place);
      return { ...set, place, ir: buildIr(set.inputs).ir };
    });
    const merged = emptySet();
    sets.forEach(({ ir }, index) => {
      for (const name of workloads) addTo(merged, renamed(this.#resources(ir, name), `${index}.${name}`));
    });
    const admin = { address: { pipe: { path: join(this.#dir, "admin.sock") } } };
    const file = join(this.#dir, "envoy.json");
    const bootstrap = { ...(staticBootstrap(merged) as JsonMessage), admin, layered_runtime: largePatterns };
    writeFileSync(file, JSON.stringify(bootstrap));
    const proxy = start([this.#binary, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
    this.#proxy = proxy;
    const last = this.#place(sets.length - 1).addressOf("ops");
    await eventually("the Envoy of the policy sets listens", () => listens(last, 15001), 60_000).catch(
      (error: unknown) => {
        throw new Error(proxy.log(), { cause: error });
      },
    );
    return sets;
  }

  #resources(ir: MeshIr, name: string): ResourceSet {
    const { namespace, serviceAccount, podUid } =
      ir.workloads.find((each) => each.serviceAccount === name) ?? missing(name);
    const known = classify(ir, { kind: "sidecar", namespace, serviceAccount, podUid }, gateway) ?? missing(name);
    return translate(ir, known.proxy, this.#trust({ cluster: "east", namespace, serviceAccount }), defaultSettings);
  }

  async ask({ place }: LoadedSet, call: SetCall): Promise<Answer> {
    const isTcp = call.servicePort === 5432;
    if ("by" in call) {
      const proxy = { host: place.addressOf(call.by), port: 15001 };
      return isTcp ? tunnelWord(proxy) : byProxy(proxy, call.servicePort, call.http);
    }
    const trust = this.#trust(call.as);
    const server = { host: place.addressOf("cart"), port: servicePorts[call.servicePort] };
    return isTcp ? directWord(server, trust) : this.#direct(server, trust, call.http);
  }

  async #direct(at: At, trust: ProxyTrust, http: CallHttp): Promise<Answer> {
    const session = connectHttp2(`https://cart.shop`, { createConnection: () => meshTls(at, trust) });
    this.sessions.add(session);
    try {
      return await within(CALL_MS, (resolve) => {
        const reject = () => resolve({ status: 0, location: "" });
        session.on("error", reject);
        const stream = session.request({
          ":method": http.method,
          ":path": http.path,
          ":authority": "cart.shop",
          ...http.headers,
        });
        stream.on("error", reject);
        stream.on("response", (headers) =>
          resolve({ status: headers[":status"] ?? 0, location: headers["location"] ?? "" }),
        );
        stream.end();
      });
    } finally {
      session.destroy();
      this.sessions.delete(session);
    }
  }

  async #stop(): Promise<void> {
    await this.#proxy?.stop();
    this.#proxy = undefined;
  }

  async close(): Promise<void> {
    await this.#stop();
    this.#http.closeAllConnections();
    this.#http.close();
    this.#tcp.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

interface At {
  readonly host: string;
  readonly port: number;
}

/** As the bootstraps of sidecars have it: Envoy's own limit refuses ordinary patterns. */
const largePatterns: JsonMessage = {
  layers: [{ name: "static", static_layer: { "re2.max_program_size.error_level": 10_000 } }],
};

function missing(name: string): never {
  throw new Error(`${name} is no workload of the set`);
}

type Merged = Record<ResourceType, Map<string, JsonMessage>>;

function emptySet(): Merged {
  return { cds: new Map(), eds: new Map(), lds: new Map(), rds: new Map(), ecds: new Map(), sds: new Map() };
}

function addTo(merged: Merged, set: ResourceSet): void {
  for (const type of resourceTypes) for (const [name, message] of set[type]) merged[type].set(name, message);
}

/** Every resource name, and every text that is one, ends in `suffix`: sets keep apart in one process. */
function renamed(set: ResourceSet, suffix: string): ResourceSet {
  const names = new Set(resourceTypes.flatMap((type) => [...set[type].keys()]));
  const rename = (value: JsonValue): JsonValue => {
    if (typeof value === "string") return names.has(value) ? `${value}#${suffix}` : value;
    if (Array.isArray(value)) return value.map((item: JsonValue) => rename(item));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, rename(inner)]));
  };
  const next = emptySet();
  for (const type of resourceTypes)
    for (const [name, message] of set[type]) next[type].set(`${name}#${suffix}`, rename(message) as JsonMessage);
  return next;
}

function listens(host: string, port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(undefined));
  });
}

function within<T>(
  ms: number,
  work: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    const end =
      <V>(settle: (value: V) => void) =>
      (value: V) => {
        clearTimeout(timer);
        settle(value);
      };
    work(end(resolve), end(reject));
  });
}

/** As an application with HTTP_PROXY set. */
function byProxy({ host, port }: At, servicePort: number, { method, path, headers }: CallHttp): Promise<Answer> {
  const authority = servicePort === 80 ? "cart.shop" : `cart.shop:${servicePort}`;
  return within(CALL_MS, (resolve, reject) => {
    const options = {
      host,
      port,
      method,
      path: `http://${authority}${path}`,
      headers: { host: authority, ...headers },
      agent: false,
    };
    const sent = request(options, (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, location: response.headers.location ?? "" });
    });
    sent.on("error", reject).end();
  });
}

/** A tunnel to the TCP port of the service; refused is any other status than 200, or no word. */
function tunnelWord({ host, port }: At): Promise<Answer> {
  return within(CALL_MS, (resolve, reject) => {
    const sent = request({ host, port, method: "CONNECT", path: "cart.shop:5432", agent: false });
    sent.on("connect", (response, socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        resolve({ answered: false });
        return;
      }
      wordFrom(socket, head.toString(), resolve);
    });
    sent.on("error", reject).end();
  });
}

function directWord(at: At, trust: ProxyTrust): Promise<Answer> {
  return within(CALL_MS, (resolve) => wordFrom(meshTls(at, trust), "", resolve));
}

function wordFrom(socket: Socket, heard: string, resolve: (answer: Answer) => void): void {
  let text = heard;
  const settle = () => {
    resolve({ answered: text.startsWith(WORD) });
    socket.destroy();
  };
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    if (text.length >= WORD.length) settle();
  });
  socket.on("error", settle).on("close", settle);
  if (text.length >= WORD.length) settle();
}

/** As a client's sidecar speaks to a server's. */
function meshTls({ host, port }: At, { chainPem, keyPem, rootsPem }: ProxyTrust): TLSSocket {
  return connectTls({
    ...{ host, port, cert: chainPem, key: keyPem, ca: rootsPem },
    ALPNProtocols: ["isthmus"],
    minVersion: "TLSv1.3",
    servername: "sidecar.sni.acme.mesh",
    // who answers is the test's own server: its name is a URI
    checkServerIdentity: () => undefined,
  });
}
