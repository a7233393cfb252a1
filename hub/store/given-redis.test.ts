// A Redis that is given by URL: TLS, user and password as in production, and what a person is told when it does not fit.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { parseFleetDomain } from "../../shared/ids.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { capturedLog } from "../testing/redis.ts";
import { startEmbeddedRedis } from "./embedded-redis.ts";
import { openStore, type Store } from "./open-store.ts";
import { parseRedisUrl } from "./redis-connection.ts";
import { openRevisionMemory } from "./revision-memory.ts";

let folder: string;
let redis: ChildProcess;
let tlsPort: number;
let plainPort: number;
const ca = () => join(folder, "ca.pem");

function makeCertificate(): void {
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  openssl(
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "1",
    ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "ca.pem"],
  );
}

/** What docs/errors.md gives the hub's user: the fleet's keys, functions, and nothing dangerous. */
const hubUser = "user hub on >secret ~isthmus:{acme.mesh}:* &* +@all -@dangerous -eval -evalsha -script +info";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "isthmus-redis-"));
  makeCertificate();
  [tlsPort, plainPort] = [await (await ownGround()).port(), await (await ownGround()).port()];
  const config = [
    `port ${plainPort}`,
    `tls-port ${tlsPort}`,
    "bind 127.0.0.1",
    "tls-cert-file ca.pem",
    "tls-key-file key.pem",
    "tls-ca-cert-file ca.pem",
    "tls-auth-clients no",
    'save ""',
    "appendonly no",
    `dir ${folder}`,
    "user default on >open ~* &* +@all",
    hubUser,
    "user weak on >secret ~isthmus:* &* +@all -function",
    "",
  ].join("\n");
  redis = spawn("redis-server", ["-"], { cwd: folder, stdio: ["pipe", "pipe", "inherit"] });
  redis.stdin?.end(config);
  for await (const chunk of redis.stdout ?? []) if (String(chunk).includes("Ready to accept")) break;
});

afterAll(async () => {
  redis.kill();
  await once(redis, "exit");
  rmSync(folder, { recursive: true });
});

async function open(url: string, options: { ca?: string; insecure?: boolean } = {}): Promise<Store> {
  const fleet = parseFleetDomain("acme.mesh");
  return openStore({
    target: parseRedisUrl(url, options.insecure === true, options.ca),
    scriptMode: undefined,
    dataDir: folder,
    fleet: fleet.ok ? fleet.value : ("" as never),
    pepper: Buffer.alloc(32),
    rules: { allowLoopback: false },
    memory: await openRevisionMemory(folder, systemClock, capturedLog()),
    clock: systemClock,
    log: capturedLog(),
  });
}

async function refusal(opening: Promise<unknown>): Promise<UserError> {
  const error = await opening.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  if (!(error instanceof UserError)) throw new Error("a UserError was expected", { cause: error });
  return error;
}

describe("a Redis given by URL", () => {
  it("is used over TLS with the few permissions that docs/errors.md names", async () => {
    const store = await open(`rediss://hub:secret@localhost:${tlsPort}`, { ca: ca() });
    expect(store.live.view).toMatchObject({ incarnation: (await store.registry.head()).incarnation, revision: 0 });
    const cluster = "east" as never;
    const { id } = await store.tokens.create(
      { cluster, ttlMs: 60_000, rejoin: false, mustBeAccepted: false },
      Date.now(),
    );
    const unknown = { tokenId: id, secret: Buffer.alloc(32), agentSpki: "a", clusterCaSpki: "b" };
    const redeem = { ...unknown, isRevoked: () => false, rests: () => false };
    expect((await store.tokens.redeem(redeem, Date.now())).status).toBe("unknown");
    store.close();
  });

  it("without TLS is refused before a byte is sent, unless for development", async () => {
    const url = `redis://hub:secret@localhost:${plainPort}`;
    expect((await refusal(open(url))).code).toBe("ISTHMUS_REDIS_PLAINTEXT");
    (await open(url, { insecure: true })).close();
  });

  const unreachable = "ISTHMUS_REDIS_UNREACHABLE";
  const hub = () => `hub:secret@localhost:${tlsPort}`;
  it.each([
    { name: "with an unknown certificate", at: hub, trusted: false, code: unreachable, hint: /--redis-ca/ },
    { name: "that speaks no TLS there", at: () => `localhost:${plainPort}`, code: unreachable, hint: /no TLS/ },
    { name: "with a wrong password", at: () => `hub:wrong@localhost:${tlsPort}`, code: unreachable, hint: /password/ },
    { name: "where nothing listens", at: () => "localhost:1", code: unreachable, hint: /nothing listens/ },
    // longer than a label may be: it is refused before any resolver is asked, however slow one is
    { name: "whose name does not resolve", at: () => `${"x".repeat(64)}.invalid`, code: unreachable, hint: /resolve/ },
    {
      name: "whose user may not load functions",
      at: () => `weak:secret@localhost:${tlsPort}`,
      code: "ISTHMUS_REDIS_PERMISSION",
      hint: /function/,
    },
  ])("$name is answered with the probable cause", async ({ at, trusted = true, code, hint }) => {
    const error = await refusal(open(`rediss://${at()}`, trusted ? { ca: ca() } : {}));
    expect(error.code).toBe(code);
    expect(error.hint).toMatch(hint);
    expect(`${error.message} ${error.hint ?? ""}`).not.toContain("secret");
  });

  it.each(["http://localhost", "localhost:6379", "rediss://", ""])("is not %j", async (url) => {
    expect((await refusal(open(url))).code).toBe("ISTHMUS_REDIS_URL");
  });

  it("that is older than 7 is refused by its version", async () => {
    const { port, server } = await fakeOldRedis();
    const error = await refusal(open(`redis://127.0.0.1:${port}`, { insecure: true }));
    expect(error.code).toBe("ISTHMUS_REDIS_OLD");
    expect(error.message).toContain("6.2.14");
    server.close();
  });
});

/** Answers as a Redis of that version does to the commands that come before the question for it. */
async function fakeOldRedis(): Promise<{ readonly port: number; readonly server: Server }> {
  const info = "# Server\r\nredis_version:6.2.14\r\nloading:0\r\n";
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      for (const command of chunk.toString("utf8").toLowerCase().split("*").filter(Boolean)) {
        socket.write(
          command.includes("info\r\n") && !command.includes("setinfo") ? `$${info.length}\r\n${info}\r\n` : "+OK\r\n",
        );
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, server };
}

describe("a Redis of the hub's own", () => {
  const start = (dataDir: string) => startEmbeddedRedis({ dataDir, clock: systemClock, log: capturedLog() });

  it("needs a redis-server on PATH and says so", async () => {
    const path = process.env["PATH"];
    process.env["PATH"] = folder;
    try {
      const error = await refusal(start(folder));
      expect(error.code).toBe("ISTHMUS_REDIS_MISSING");
      expect(error.hint).toContain("--redis URL");
    } finally {
      process.env["PATH"] = path;
    }
  });

  it("needs a data folder whose path leaves room for a socket's name", async () => {
    expect((await refusal(start(join(folder, "x".repeat(120))))).code).toBe("ISTHMUS_DATA_PATH");
  });
});
