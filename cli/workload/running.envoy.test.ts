// A workload with a real Envoy and a real application, from start to end: what it leads in and out, what it leaves behind.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { Agent, request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock, type Clock } from "../../shared/clock.ts";
import type { UserError } from "../../shared/errors.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { registrationFile, workloadFolder } from "../../agent/site/credential-folder.ts";
import { findEnvoy } from "../../agent/xds/testing/envoy.ts";
import { parseRunOptions } from "./options.ts";
import { runWorkload, type Running } from "./running.ts";
import { factsOf, startStandInAgent, staticProxy, writeCredential, type Sockets } from "./testing/stand-in.ts";

// a limit for a busy machine; alone each of these takes a second
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const found = findEnvoy();
const application = fileURLToPath(new URL("./testing/application.mjs", import.meta.url));
const workload = { namespace: "shop", name: "cart" };

let dir = "";
let sockets: Sockets;
let agent: { stop(): void } | undefined;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "ist-run-"));
  const ground = await ownGround();
  sockets = { inbound: await ground.port(), application: await ground.port(), httpProxy: await ground.port() };
});
afterEach(() => {
  agent?.stop();
  agent = undefined;
  rmSync(dir, { recursive: true, force: true });
});

interface Ran {
  readonly status: Promise<number>;
  readonly ready: Promise<Running>;
  readonly said: readonly string[];
  stop(): void;
  kill(): void;
}

function run(command: readonly string[], env: NodeJS.ProcessEnv = {}, clock: Clock = systemClock): Ran {
  const options = { namespace: "shop", service: "cart", account: "cart", port: [], data: dir, output: "text" } as const;
  const stop = new AbortController();
  const kill = new AbortController();
  const said: string[] = [];
  const ready = Promise.withResolvers<Running>();
  const status = runWorkload(
    parseRunOptions(options, command),
    {
      clock,
      env: {
        ...process.env,
        PORT: String(sockets.application),
        STATUS: "0",
        NOTE: join(dir, "note"),
        REGISTRATION: registrationFile(dir, workload),
        ...env,
      },
      findEnvoy: () => Promise.resolve("path" in found ? found.path : ""),
      makeProxy: staticProxy(sockets),
      say: (line) => said.push(line),
      onReady: (running) => ready.resolve(running),
    },
    { stop: stop.signal, kill: kill.signal },
  );
  ready.promise.catch(() => undefined); // only some tests wait for it
  status.catch((error: unknown) => ready.reject(error));
  return { status, ready: ready.promise, said, stop: () => stop.abort("SIGTERM"), kill: () => kill.abort("SIGTERM") };
}

const node = (...args: readonly string[]) => [process.execPath, ...args];
const codeOf = (work: Promise<unknown>) => work.then(String, (error: unknown) => (error as UserError).code);

/** Asks until the application answers: it starts when its sidecar is ready. */
async function call(path: string, using?: Agent): Promise<string> {
  for (const deadline = performance.now() + 30_000; ;) {
    const answer = await ask(path, using).catch(() => undefined);
    if (answer?.status === 200) return answer.body;
    if (performance.now() > deadline) throw new Error(`${path}: ${answer?.body ?? "no answer"}`);
  }
}

function ask(path: string, using?: Agent): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((done, fail) => {
    const target = { host: "127.0.0.1", port: sockets.inbound, path, ...(using === undefined ? {} : { agent: using }) };
    const sent = request(target, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      response.on("end", () => done({ status: response.statusCode ?? 0, body }));
    });
    sent.on("error", fail);
    sent.end();
  });
}

function nothingIsLeft(): void {
  expect(existsSync(registrationFile(dir, workload))).toBe(false);
  expect(readdirSync(join(dir, "registered"))).toEqual([]);
  expect(readdirSync(join(dir, "run"))).toEqual([]);
}

describe.skipIf("missing" in found)("a running workload", () => {
  beforeEach(() => (agent = startStandInAgent(dir, sockets)));

  it("answers through its sidecar, leads its calls to the HTTP proxy, and leaves in order when it is asked to", async () => {
    const ran = run(node(application), { STATUS: "5" });
    const { sidecarPid } = await ran.ready;
    const connection = new Agent({ keepAlive: true, maxSockets: 1 });
    expect(await call("/hello", connection)).toBe(`/hello by http://127.0.0.1:${sockets.httpProxy}`);
    // in the middle of a call: it is answered before the application is told
    const slow = ask("/slow");
    await vi.waitFor(() => expect(existsSync(join(dir, "note.slow"))).toBe(true), 30_000);
    ran.stop();
    expect((await slow).status).toBe(200);
    expect(await ran.status).toBe(5);
    connection.destroy();
    expect(readFileSync(join(dir, "note"), "utf8")).toBe("not registered");
    expect(() => process.kill(sidecarPid ?? 0, 0)).toThrow("ESRCH");
    nothingIsLeft();
  });

  it.each([
    { how: "ends by itself", program: "process.exit(7)", status: 7 },
    { how: "is killed", program: "process.kill(process.pid, 'SIGKILL')", status: 137 },
  ])("ends with the application's status when that $how", async ({ program, status }) => {
    const ran = run(node("-e", program));
    expect(await ran.status).toBe(status);
    nothingIsLeft();
  });

  it("ends at once when it is asked twice, whatever the application thinks of it", async () => {
    const ran = run(node(application), { DEAF: "1" });
    await ran.ready;
    await call("/");
    ran.stop();
    ran.kill();
    expect(await ran.status).toBe(137);
    nothingIsLeft();
  });

  it("gets another sidecar when its own dies, and says so", async () => {
    const ran = run(node(application));
    const { sidecarPid } = await ran.ready;
    await call("/");
    process.kill(sidecarPid ?? 0, "SIGKILL");
    await vi.waitFor(() => expect(ran.said.join()).toContain("SIGKILL and is started again"), 30_000);
    expect(await call("/again")).toContain("/again");
    ran.stop();
    expect(await ran.status).toBe(0);
  });

  it("is refused while another process runs it", async () => {
    const first = run(node(application));
    await first.ready;
    const error = await run(node(application)).status.catch((cause: unknown) => cause as UserError);
    expect(error).toMatchObject({ code: "ISTHMUS_WORKLOAD_TAKEN" });
    expect((error as UserError).message).toContain(String(process.pid));
    first.stop();
    await first.status;
  });

  it("takes over what a killed one has left", async () => {
    const left = { metadata: { annotations: { "isthmus.dev/pid": "999999999" } }, spec: { serviceAccount: "cart" } };
    mkdirSync(join(dir, "run", "shop.cart"), { recursive: true, mode: 0o700 });
    writeFileSync(join(dir, "run", "shop.cart", "owner.json"), JSON.stringify({ pid: 999_999_999, registered: true }));
    writeFileSync(registrationFile(dir, workload), JSON.stringify(left));
    expect(await run(node("-e", "")).status).toBe(0);
    nothingIsLeft();
  });

  it("does not start when a program listens where its sidecar should", async () => {
    const other = createServer();
    await new Promise<void>((done) => other.listen(sockets.inbound, "127.0.0.1", done));
    const error = await run(node(application)).status.catch((cause: unknown) => cause as UserError);
    other.close();
    expect(error).toMatchObject({ code: "ISTHMUS_PORT_TAKEN" });
    expect((error as UserError).message).toContain(`127.0.0.1:${sockets.inbound}`);
    nothingIsLeft();
  });
});

describe("a workload that cannot run", () => {
  it("has no program: nothing is started, and the status is the shell's", async () => {
    const error = await run(["no-such-program"]).status.catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "ISTHMUS_APPLICATION", exitStatus: 127 });
    expect(readdirSync(dir)).toEqual([]);
  });

  it("has no site", async () => {
    let now = 0;
    const hasty: Clock = { now: () => now, sleep: (ms) => Promise.resolve(void (now += 100 * ms)) };
    const error = await run(node("-e", ""), {}, hasty).status.catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "ISTHMUS_CREDENTIAL" });
    expect((error as UserError).hint).toContain(`isthmus site --data ${dir}`);
    nothingIsLeft();
  });

  it("has a token that others may read", async () => {
    const folder = workloadFolder(dir, workload);
    writeCredential(folder, factsOf("cart", sockets));
    chmodSync(join(folder, "token"), 0o644);
    expect(await codeOf(run(node("-e", "")).status)).toBe("ISTHMUS_CREDENTIAL_MODE");
  });
});
