// Who gets to ask: a connection without the aggregator's certificate ends in the handshake.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jsonLog } from "../../shared/log.ts";
import { ensureWebhookTrust, type WebhookTrust } from "../inject/webhook-ca.ts";
import { failure } from "./answer.ts";
import { parseFrontProxy } from "./front-proxy.ts";
import { startTrafficMetricsServer, type TrafficMetricsServer } from "./server.ts";

const serverName = "isthmus-agent.isthmus-system.svc";
let dir: string;
let trust: WebhookTrust;
let server: TrafficMetricsServer;

function certificate(name: string, issuer?: string): void {
  const at = (file: string) => join(dir, file);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at(`${name}.key`)];
  const from = issuer === undefined ? [] : ["-CA", at(`${issuer}.crt`), "-CAkey", at(`${issuer}.key`)];
  execFileSync(
    "openssl",
    ["req", "-x509", "-days", "1", "-subj", `/CN=${name}`, ...key, ...from, "-out", at(`${name}.crt`)],
    { stdio: "ignore" },
  );
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "isthmus-front-"));
  certificate("front-proxy-ca");
  certificate("front-proxy-client", "front-proxy-ca");
  certificate("somebody", "front-proxy-ca");
  certificate("stranger");
  const store = { load: () => Promise.resolve(undefined), save: () => Promise.resolve({ saved: true }) };
  trust = await ensureWebhookTrust({ store, clock: { now: () => Date.now() }, serverName });
  const frontProxy = parseFrontProxy({
    data: {
      "requestheader-client-ca-file": readFileSync(join(dir, "front-proxy-ca.crt"), "utf8"),
      "requestheader-allowed-names": '["front-proxy-client"]',
    },
  });
  if (!frontProxy.ok) throw new Error("the aggregator's certificate cannot be read");
  server = await startTrafficMetricsServer({
    ...{ port: 0, host: "127.0.0.1", log: jsonLog("error", () => undefined) },
    identity: { ...trust.certificate, frontProxy: frontProxy.value },
    answer: (url) => Promise.resolve({ status: 200, body: { path: url.pathname } }),
  });
});

afterAll(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

function ask(client: string | undefined, method = "GET"): Promise<{ status: number; text: string }> {
  const own = (file: string) => readFileSync(join(dir, file));
  const identity = client === undefined ? {} : { cert: own(`${client}.crt`), key: own(`${client}.key`) };
  const to = { host: "127.0.0.1", port: server.port, servername: serverName, ca: trust.caBundlePem, path: "/apis" };
  return new Promise((resolve, reject) => {
    const sent = request({ ...to, ...identity, method, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on("error", reject).end();
  });
}

describe("the server of TrafficMetrics", () => {
  it("answers the aggregator", async () => {
    expect(await ask("front-proxy-client")).toEqual({ status: 200, text: '{"path":"/apis"}' });
  });

  it("lets nothing be written", async () => {
    expect(await ask("front-proxy-client", "POST")).toMatchObject({ status: 405 });
  });

  it("refuses another certificate of the same CA", async () => {
    const { status, text } = await ask("somebody");
    expect({ status, text: JSON.parse(text) as unknown }).toEqual({
      status: 403,
      text: failure(403, "somebody is not the API server").body,
    });
  });

  it.each([[undefined], ["stranger"]])("ends the handshake with who shows %s", async (client) => {
    await expect(ask(client)).rejects.toThrow();
  });
});

it.each([
  ["nothing", {}],
  ["no certificate", { data: { "requestheader-client-ca-file": "x" } }],
  [
    "names that are no list",
    { data: { "requestheader-client-ca-file": "-----BEGIN CERTIFICATE-----", "requestheader-allowed-names": "[" } },
  ],
])("an aggregator of which there is %s is a problem, not a guess", (_what, configMap) => {
  expect(parseFrontProxy(configMap)).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_AGGREGATION" }] });
});
