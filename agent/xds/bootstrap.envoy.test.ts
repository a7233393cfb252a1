// A real Envoy on its bootstrap alone, against an agent that only listens: whom it trusts, what it shows, and that a new token, a
// new root and a dead agent need no restart (envoy-facts 5). Folders are swapped as the kubelet swaps them: `..data` is a symlink.
import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { bootstrapConfig, bootstrapFiles } from "./bootstrap.ts";
import { boundProxy } from "./bound-proxy.ts";
import type { ProxyTrust } from "./proxy.ts";
import type { JsonMessage } from "./resource.ts";
import { testFleet } from "./testing/certificates.ts";
import { eventually, findEnvoy, start, type Running } from "./testing/envoy.ts";
import { fleetDomain } from "./testing/mesh-case.ts";

const ground = await ownGround();
const AGENT_PORT = await ground.port();
const BEHIND_PORT = await ground.port();
const ADMIN_PORT = await ground.port();
const METRICS_PORT = await ground.port();
const READINESS_PORT = await ground.port();
const APPLICATION_PORT = await ground.port();
const PROBE_PORT = await ground.port();

// generous: on a busy machine a proxy takes seconds to start; what has a bar asserts it itself
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";

/** Writes files as a projected volume: all at once, by one rename of a symlink. */
function project(folder: string, files: Readonly<Record<string, string>>): void {
  const version = mkdtempSync(join(folder, "..v"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(version, name), text);
  symlinkSync(version, join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
}

/** Takes streams and answers nothing: enough to see who calls and with which token. */
class ListeningAgent {
  readonly tokens: string[] = [];
  readonly sessions: ServerHttp2Session[] = [];
  readonly #sockets: Socket[] = [];
  #server: Http2SecureServer | undefined;
  #entrance: Server | undefined;

  async listen(identity: ProxyTrust): Promise<void> {
    const server = createSecureServer({ cert: identity.chainPem, key: identity.keyPem });
    server.on("session", (session) => {
      this.sessions.push(session);
      session.on("error", () => session.destroy());
    });
    server.on("stream", (stream, headers) => {
      this.tokens.push(headers.authorization ?? "");
      stream.on("error", () => stream.destroy());
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(BEHIND_PORT, "127.0.0.1", resolve));
    const entrance = createServer((outer) => {
      const inner = connect(BEHIND_PORT, "127.0.0.1");
      for (const socket of [outer, inner]) socket.on("error", () => [outer, inner].forEach((one) => one.destroy()));
      outer.pipe(inner).pipe(outer);
      this.#sockets.push(outer, inner);
    });
    this.#entrance = entrance;
    await new Promise<void>((resolve) => entrance.listen(AGENT_PORT, "127.0.0.1", resolve));
  }

  /** Connections stay open, and nothing comes through them any more. New ones work: another replica. */
  freeze(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  async close(): Promise<void> {
    for (const session of this.sessions.splice(0)) session.destroy();
    for (const socket of this.#sockets.splice(0)) socket.destroy();
    for (const server of [this.#entrance, this.#server]) {
      if (server?.listening === true) await new Promise((resolve) => server.close(resolve));
    }
  }
}

let dir = "";
let agent: ListeningAgent;
let proxy: Running | undefined;

/** `alone`: its own listeners without an agent, which it would wait for before it opens any. */
function startProxy(alone = false): void {
  const [trustDir, tokenDir] = [join(dir, "trust"), join(dir, "token")];
  const probes = [{ port: PROBE_PORT, check: "connect" as const, targetPort: APPLICATION_PORT }];
  const address = { host: "127.0.0.1", port: AGENT_PORT };
  const folders = { trustDir, tokenDir, configDir: dir };
  const options = {
    kind: "sidecar" as const,
    cluster: "east" as ClusterName,
    fleetDomain,
    agent: address,
    ...folders,
    probes,
  };
  for (const [file, content] of Object.entries(bootstrapFiles(options)))
    writeFileSync(join(dir, file), JSON.stringify(content));
  // the fixed ports belong to pods; here other tests may hold them
  const moved = JSON.stringify(bootstrapConfig(options))
    .replaceAll(":15000}", `:${ADMIN_PORT}}`)
    .replaceAll(":15010}", `:${METRICS_PORT}}`)
    .replaceAll(":15021}", `:${READINESS_PORT}}`);
  const config = JSON.parse(moved) as JsonMessage;
  writeFileSync(join(dir, "bootstrap.json"), JSON.stringify(alone ? { ...config, dynamic_resources: {} } : config));
  const flags = [
    "--service-node",
    "sidecar~front.shop",
    "--service-cluster",
    "front",
    "--concurrency",
    "1",
    "--disable-hot-restart",
  ];
  proxy = start([envoy, "-c", join(dir, "bootstrap.json"), ...flags, "-l", "warning"]);
}

function fleetIn(name: string) {
  mkdirSync(join(dir, name));
  return testFleet(join(dir, name), fleetDomain);
}

function sees(token: string, deadlineMs?: number): Promise<true> {
  return eventually(
    `${token} reaches the agent; seen ${agent.tokens.join(", ")}; ${proxy?.log() ?? ""}`,
    () => Promise.resolve(agent.tokens.includes(token) || undefined),
    deadlineMs,
  );
}

async function statusOf(port: number, path: string): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}${path}`)).status;
}

function answerOf(socketPath: string, path: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on("error", reject).end();
  });
}

describe.skipIf(envoy === "")("a real Envoy on its bootstrap", () => {
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "isthmus-bootstrap-"));
    agent = new ListeningAgent();
    for (const name of ["trust", "token"]) {
      mkdirSync(join(dir, name));
      symlinkSync(
        join("..data", name === "trust" ? "roots.pem" : "token"),
        join(dir, name, name === "trust" ? "roots.pem" : "token"),
      );
    }
    project(join(dir, "token"), { token: "first" });
  });

  afterEach(async () => {
    await proxy?.stop();
    await agent.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it("shows its token to its agent, and after a renewal of token and root the new one under the new root", async () => {
    const [old, renewed] = [fleetIn("old"), fleetIn("renewed")];
    project(join(dir, "trust"), { "roots.pem": old.rootsPem });
    await agent.listen(old.svid("east", "isthmus-system", "isthmus-agent"));
    startProxy();
    await sees("Bearer first");

    project(join(dir, "token"), { token: "second" });
    for (const session of agent.sessions.splice(0)) session.destroy();
    await sees("Bearer second");

    project(join(dir, "trust"), { "roots.pem": renewed.rootsPem });
    project(join(dir, "token"), { token: "third" });
    await agent.close();
    await agent.listen(renewed.svid("east", "isthmus-system", "isthmus-agent"));
    await sees("Bearer third");
  });

  it("as a process reads a plain credential folder, shows a token that was renamed into it, and opens no port", async () => {
    const [fleet, credentialDir, configDir] = [fleetIn("fleet"), join(dir, "credential"), join(dir, "run")];
    for (const folder of [credentialDir, configDir]) mkdirSync(folder);
    writeFileSync(join(credentialDir, "roots.pem"), fleet.rootsPem);
    writeFileSync(join(credentialDir, "token"), "first");
    const made = boundProxy(
      {
        ...{ cluster: "east", fleetDomain, namespace: "shop", name: "cart", sidecar: {} },
        ...{ agent: { host: "127.0.0.1", port: AGENT_PORT }, locality: { region: "", zone: "" } },
      },
      { credentialDir, configDir },
    );
    if (!made.ok) throw new Error(JSON.stringify(made.error));
    const { files, arguments: given, adminSocketPath } = made.value;
    for (const [file, text] of Object.entries(files)) writeFileSync(join(configDir, file), text);
    await agent.listen(fleet.svid("east", "isthmus-system", "isthmus-agent"));
    proxy = start([envoy, ...given]);
    await sees("Bearer first");
    // its agent has not told it what to do yet
    const ready = await answerOf(adminSocketPath, "/ready");
    expect(ready).toEqual({ status: 503, text: "PRE_INITIALIZING\n" });
    expect((await answerOf(adminSocketPath, "/listeners")).text).toBe("");
    expect(statSync(adminSocketPath).mode & 0o777).toBe(0o600);

    writeFileSync(join(credentialDir, ".token.new"), "second");
    renameSync(join(credentialDir, ".token.new"), join(credentialDir, "token"));
    for (const session of agent.sessions.splice(0)) session.destroy();
    await sees("Bearer second");
  });

  it.each([
    ["another account of its cluster", ["east", "isthmus-system", "default"]],
    ["another cluster's agent", ["west", "isthmus-system", "isthmus-agent"]],
  ] as const)("never shows its token to %s", async (_who, [cluster, namespace, account]) => {
    const fleet = fleetIn("fleet");
    project(join(dir, "trust"), { "roots.pem": fleet.rootsPem });
    await agent.listen(fleet.svid(cluster, namespace, account));
    startProxy();
    await eventually("Envoy has tried", async () => {
      const stats = await (
        await fetch(`http://127.0.0.1:${ADMIN_PORT}/stats?filter=cluster.ads.ssl.fail_verify_san`)
      ).text();
      return /fail_verify_san: [1-9]/.test(stats) ? true : undefined;
    });
    expect(agent.tokens).toEqual([]);
  });

  it("notices within seconds that its agent is dead, though the connection stays open", async () => {
    const fleet = fleetIn("fleet");
    project(join(dir, "trust"), { "roots.pem": fleet.rootsPem });
    await agent.listen(fleet.svid("east", "isthmus-system", "isthmus-agent"));
    startProxy();
    await sees("Bearer first");
    agent.tokens.length = 0;
    agent.freeze();
    await sees("Bearer first", 45_000); // TCP itself would take a quarter of an hour
  });

  it("is not ready before its agent has told it what to do", async () => {
    const fleet = fleetIn("fleet");
    project(join(dir, "trust"), { "roots.pem": fleet.rootsPem });
    await agent.listen(fleet.svid("east", "isthmus-system", "isthmus-agent"));
    startProxy();
    await sees("Bearer first");
    await expect(statusOf(READINESS_PORT, "/ready")).rejects.toThrow();
  });

  it("serves metrics and readiness and nothing else of its admin interface", async () => {
    const fleet = fleetIn("fleet");
    project(join(dir, "trust"), { "roots.pem": fleet.rootsPem });
    startProxy(true);
    await eventually("metrics are served", async () =>
      (await statusOf(METRICS_PORT, "/stats/prometheus")) === 200 ? true : undefined,
    );
    const text = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/stats/prometheus`)).text();
    expect(text).toContain("envoy_server_live");
    expect(await statusOf(READINESS_PORT, "/ready")).toBe(200);
    for (const port of [METRICS_PORT, READINESS_PORT]) {
      for (const path of ["/", "/quitquitquit", "/config_dump", "/stats/../config_dump", "/ready/../quitquitquit"]) {
        expect(await statusOf(port, path), path).toBe(404);
      }
    }
  });

  it("answers for a TCP probe what the application's port does", async () => {
    const fleet = fleetIn("fleet");
    project(join(dir, "trust"), { "roots.pem": fleet.rootsPem });
    startProxy(true);
    await eventually("the probe fails", async () => ((await statusOf(PROBE_PORT, "/")) === 503 ? true : undefined));
    const application: Server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => application.listen(APPLICATION_PORT, "127.0.0.1", resolve));
    try {
      await eventually("the probe succeeds", async () =>
        (await statusOf(PROBE_PORT, "/")) === 200 ? true : undefined,
      );
    } finally {
      await new Promise((resolve) => application.close(resolve));
    }
    await eventually("the probe fails again", async () =>
      (await statusOf(PROBE_PORT, "/")) === 503 ? true : undefined,
    );
  });
});
