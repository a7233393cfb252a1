import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { jsonLog } from "../../shared/log.ts";
import type { NamespaceFacts } from "./decide.ts";
import { applyPatch } from "./testing/json-patch.ts";
import { someSettings } from "./testing/settings.ts";
import { ensureWebhookTrust, type WebhookTrust } from "./webhook-ca.ts";
import { startWebhookServer, type WebhookOutcome, type WebhookServer } from "./webhook-server.ts";

const serverName = "isthmus-agent.isthmus-system.svc";

function newTrust(): Promise<WebhookTrust> {
  const store = { load: () => Promise.resolve(undefined), save: () => Promise.resolve({ saved: true }) };
  return ensureWebhookTrust({ store, clock: { now: () => Date.now() }, serverName });
}

let trust: WebhookTrust;
let server: WebhookServer;
let outcomes: [WebhookOutcome, string][];
let lines: string[];
let namespaces: Record<string, NamespaceFacts | Error>;

beforeEach(async () => {
  trust = await newTrust();
  outcomes = [];
  lines = [];
  namespaces = { shop: { name: "shop", meshed: true, annotations: {} }, broken: new Error("API server away") };
  server = await startWebhookServer({
    port: 0,
    host: "127.0.0.1",
    certificate: trust.certificate,
    settings: () => someSettings(),
    namespace: (name) => {
      const found = namespaces[name];
      return found instanceof Error ? Promise.reject(found) : Promise.resolve(found);
    },
    observe: (outcome, detail) => outcomes.push([outcome, detail]),
    log: jsonLog("info", (line) => lines.push(line)),
  });
});

afterEach(() => server.close());

interface Answer {
  readonly status: number;
  readonly body: {
    message?: string;
    response?: { uid: string; allowed: boolean; patch?: string; status?: { message: string } };
  };
}

interface Question {
  readonly path?: string;
  readonly method?: string;
  readonly type?: string;
  readonly ca?: string;
}

function ask(
  body: string,
  { path = "/inject?timeout=10s", method = "POST", type = "application/json", ca }: Question = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        host: "127.0.0.1",
        port: server.port,
        servername: serverName,
        ca: ca ?? trust.caBundlePem,
        path,
        method,
        agent: false,
        headers: { "content-type": type },
      },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Answer["body"] }),
        );
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

const pod = { metadata: { name: "cart" }, spec: { containers: [{ name: "cart", image: "cart:1" }] } };

function aReview(request: object = {}): string {
  return JSON.stringify({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: "u-1",
      kind: { group: "", version: "v1", kind: "Pod" },
      namespace: "shop",
      operation: "CREATE",
      object: pod,
      ...request,
    },
  });
}

test("a new pod of the mesh gets a patch that the API server can apply", async () => {
  const { status, body } = await ask(aReview());
  expect(status).toBe(200);
  expect(body.response).toMatchObject({ uid: "u-1", allowed: true, patchType: "JSONPatch" });
  const patch: unknown = JSON.parse(Buffer.from(body.response?.patch ?? "", "base64").toString());
  expect(applyPatch(pod, patch as never)).toMatchObject({
    metadata: { labels: { "isthmus.dev/injected": "true" } },
    spec: { initContainers: [{ name: "isthmus-init" }, { name: "isthmus-proxy", restartPolicy: "Always" }] },
  });
  expect(outcomes).toEqual([["injected", ""]]);
});

test("a pod that is left alone is let through without a patch, and the reason is counted", async () => {
  const answers = await Promise.all([
    ask(aReview({ object: { ...pod, spec: { ...pod.spec, hostNetwork: true } } })),
    ask(aReview({ operation: "UPDATE" })),
    ask(aReview({ kind: { kind: "Deployment" } })),
    ask(aReview({ namespace: "nowhere" })),
  ]);
  for (const { body } of answers) expect(body.response).toEqual({ uid: "u-1", allowed: true });
  expect(outcomes.map(([outcome]) => outcome)).toEqual(["skipped", "skipped", "skipped", "skipped"]);
  expect(outcomes.map(([, reason]) => reason).sort()).toEqual([
    "host-network",
    "namespace-unknown",
    "not-a-new-pod",
    "not-a-new-pod",
  ]);
});

test("a pod that cannot work is refused with code, field and reason", async () => {
  const { status, body } = await ask(
    aReview({ object: { ...pod, spec: { ...pod.spec, securityContext: { runAsUser: 1337 } } } }),
  );
  expect(status).toBe(200);
  expect(body.response).toMatchObject({ allowed: false, status: { code: 422 } });
  expect(body.response?.status?.message).toMatch(
    /^isthmus: ISTHMUS_USER_RESERVED: spec.securityContext: the pod runs as user 1337/,
  );
});

test("when the agent itself fails, the pod is refused politely and the log has the cause", async () => {
  const { status, body } = await ask(aReview({ namespace: "broken" }));
  expect([status, body.response?.allowed]).toEqual([200, false]);
  expect(body.response?.status?.message).toContain("ISTHMUS_INJECTION_FAILED");
  expect(lines.join("")).toContain("API server away");
  expect(outcomes).toEqual([["failed", "exception"]]);
});

test("a bad review is a bad request, never an internal error", async () => {
  const bad = [
    "",
    "{",
    "null",
    "[]",
    '"x"',
    JSON.stringify({ apiVersion: "admission.k8s.io/v1beta1", kind: "AdmissionReview", request: { uid: "u" } }),
    JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" }),
    aReview({ uid: 7 }),
  ];
  for (const text of bad) expect(await ask(text), text).toMatchObject({ status: 400 });
  const objects = [
    null,
    7,
    [],
    {},
    { metadata: 1, spec: [] },
    { spec: { containers: [null] } },
    { spec: { containers: [{ name: 7, ports: {} }] } },
  ];
  for (const object of objects) {
    expect(await ask(aReview({ object })), JSON.stringify(object)).toMatchObject({
      status: 200,
      body: { response: { allowed: false } },
    });
  }
});

test("other paths, methods and types are refused, and too much is not read", async () => {
  expect(await ask(aReview(), { path: "/" })).toMatchObject({ status: 404 });
  expect(await ask(aReview(), { method: "PUT" })).toMatchObject({ status: 405 });
  expect(await ask(aReview(), { type: "text/plain" })).toMatchObject({ status: 415 });
  const large = await ask("x".repeat(5 * 1024 * 1024)).catch((error: unknown) => error);
  // the answer, or a connection closed while the client still sends
  expect(large instanceof Error || (large as Answer).status === 413).toBe(true);
  expect(await ask(aReview())).toMatchObject({ status: 200 });
});

test("bytes that are no TLS, and a client that goes away, disturb nobody", async () => {
  await new Promise<void>((resolve) => {
    const socket = connect(server.port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\n\r\n"));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
  });
  expect(await ask(aReview())).toMatchObject({ status: 200 });
});

test("a renewed certificate is served from the next connection on", async () => {
  const next = await newTrust();
  server.renew(next.certificate);
  await expect(ask(aReview())).rejects.toThrow();
  expect(await ask(aReview(), { ca: next.caBundlePem })).toMatchObject({ status: 200 });
});
