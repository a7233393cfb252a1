// Runs inside a pod or beside a sidecar (`node --input-type=module -e`), so it may import node:* only. Reads one JSON
// command a line, answers one JSON line each. Requests go out as the workload's application would send them: to the
// address that its name resolves to, or, where HTTP_PROXY names the sidecar, to that.
import { EventEmitter } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { createInterface } from "node:readline";

const keptAgents = new Map();
const proxy = process.env.HTTP_PROXY ? new URL(process.env.HTTP_PROXY) : undefined;

/** "new": a connection of its own; any other name: one kept-alive connection that later requests of that name reuse. */
function agentFor(connection) {
  if (connection === undefined || connection === "new") return new http.Agent({ keepAlive: false });
  const kept = keptAgents.get(connection) ?? new http.Agent({ keepAlive: true, maxSockets: 1 });
  keptAgents.set(connection, kept);
  return kept;
}

function request({ url, method = "GET", headers = {}, body, connection, timeoutMs = 10_000, agent }) {
  const started = performance.now();
  return new Promise((resolve) => {
    const done = (answer) => resolve({ ms: performance.now() - started, ...answer });
    const options = { ...placeOf(url, headers), method, agent: agent ?? agentFor(connection), timeout: timeoutMs };
    const sent = http.request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", (error) => done({ error: error.code ?? error.message }));
      response.on("end", () =>
        done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    sent.on("timeout", () => sent.destroy(new Error("timeout")));
    sent.on("error", (error) => done({ error: error.code ?? error.message }));
    sent.end(body);
  });
}

/** The path goes out exactly as given: `new URL` would resolve `..` before Envoy sees it. */
function placeOf(url, headers) {
  const [, authority, path = "/"] = /^[a-z]+:\/\/([^/]+)(\/.*)?$/.exec(url);
  if (proxy === undefined) {
    const { hostname, port } = new URL(url);
    return { hostname, port, path, headers };
  }
  // RFC 9112, 3.2.2: a proxy is asked with the whole URL
  const whole = `http://${authority}${path}`;
  return { hostname: proxy.hostname, port: proxy.port, path: whole, headers: { host: authority, ...headers } };
}

/** Open loop: requests start on schedule whether or not earlier ones were answered, so a stall is seen by all that wait. */
async function load({ url, rps, seconds, method, timeoutMs = 10_000, connections = 50 }) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const total = Math.round(rps * seconds);
  const started = performance.now();
  const result = { requests: 0, failed: 0, statuses: {}, failures: [], clusters: {} };
  const pending = new Set();
  const times = [];
  const one = async (index) => {
    const sentAtMs = performance.now() - started;
    const answer = await request({ url, method, timeoutMs, agent });
    result.requests += 1;
    heard.emit("answer");
    times.push(answer.ms);
    const key = answer.error ?? String(answer.status);
    result.statuses[key] = (result.statuses[key] ?? 0) + 1;
    const cluster = answer.headers?.["x-shop-cluster"];
    if (cluster !== undefined) result.clusters[cluster] = (result.clusters[cluster] ?? 0) + 1;
    if (answer.status !== 200) {
      result.failed += 1;
      if (result.failures.length < 20)
        result.failures.push({ index, sentAtMs, ms: answer.ms, key, body: answer.body?.slice(0, 200) });
    }
  };
  for (let index = 0; index < total && !stopped; index += 1) {
    const due = (index * 1000) / rps - (performance.now() - started);
    if (due > 1) await new Promise((resolve) => setTimeout(resolve, due));
    const job = one(index).finally(() => pending.delete(job));
    pending.add(job);
  }
  await Promise.all(pending);
  agent.destroy();
  times.sort((a, b) => a - b);
  return { ...result, slowestMs: times.at(-1) ?? 0, medianMs: times[times.length >> 1] ?? 0 };
}

let stopped = false;

/** Emits `answer` for every request of a load that is over. */
const heard = new EventEmitter().setMaxListeners(0);

function moreAnswers({ count }) {
  let left = count;
  return new Promise((resolve) => {
    heard.on("answer", function counted() {
      left -= 1;
      if (left > 0) return;
      heard.off("answer", counted);
      resolve({});
    });
  });
}

/** Connects, sends `text` if any, and gathers what comes back until the peer ends, `bytes` arrived or the time is up. */
function tcp({ host, port, text, bytes = 1, timeoutMs = 5_000 }) {
  const started = performance.now();
  return new Promise((resolve) => {
    let received = "";
    const socket = net.connect({ host, port });
    const done = (end) => {
      socket.destroy();
      resolve({ received, end, ms: performance.now() - started });
    };
    socket.setTimeout(timeoutMs, () => done("timeout"));
    socket.on("connect", () => text && socket.write(text));
    socket.on("data", (chunk) => {
      received += chunk.toString("utf8");
      if (received.length >= bytes) done("received");
    });
    socket.on("end", () => done("closed"));
    socket.on("error", (error) => done(error.code ?? error.message));
  });
}

const HOLD_EVERY_MS = 100;
/** Connections that were opened by `hold`, by name: when each last heard something, and how it ended. */
const held = new Map();

function heldState(name) {
  const { kind, lastHeardAtMs, end, endedAtMs } = held.get(name);
  return { kind, lastHeardAtMs, end, endedAtMs };
}

/**
 * Opens a connection that sends something again and again to a server that sends it back, and keeps it. Answers as soon as
 * something came back, or it has ended.
 */
function hold({ name, kind, host, port, authority, timeoutMs = 5_000 }) {
  return new Promise((resolve) => {
    const state = { kind, lastHeardAtMs: 0, close: () => undefined };
    held.set(name, state);
    const overdue = setTimeout(() => ended("timeout"), timeoutMs);
    const heard = () => {
      state.lastHeardAtMs = Date.now();
      clearTimeout(overdue);
      resolve(heldState(name));
    };
    const ended = (reason) => {
      if (state.end !== undefined) return;
      state.end = reason;
      state.endedAtMs = Date.now();
      clearTimeout(overdue);
      clearInterval(sending);
      state.close();
      resolve(heldState(name));
    };
    const send = holders[kind](state, { name, host, port, authority, heard, ended });
    const sending = setInterval(send, HOLD_EVERY_MS);
  });
}

/** Each opens its connection and returns what sends one message on it. */
const holders = {
  tcp(state, { host, port, heard, ended }) {
    const socket = net.connect({ host, port });
    follow(socket, state, { heard, ended });
    return () => socket.write("hold\n");
  },
  /** A new request on one kept connection: another status than 200 is its end. */
  http(state, { host, port, authority, heard, ended }) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    state.close = () => agent.destroy();
    return () => {
      const sent = http.get(
        { host, port, path: "/", headers: { host: authority }, agent, timeout: 5_000 },
        (response) => {
          response.resume();
          response.on("end", () => (response.statusCode === 200 ? heard() : ended(`status ${response.statusCode}`)));
        },
      );
      sent.on("timeout", () => sent.destroy(new Error("timeout")));
      sent.on("error", (error) => ended(error.code ?? error.message));
    };
  },
  websocket(state, { host, port, authority, heard, ended }) {
    const socket = net.connect({ host, port });
    const upgrade = ["GET /chat HTTP/1.1", `host: ${authority}`, "connection: Upgrade", "upgrade: websocket"];
    const key = ["sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "", ""];
    let open = false;
    socket.on("connect", () => socket.write([...upgrade, ...key].join("\r\n")));
    follow(socket, state, {
      ended,
      heard: (chunk) => {
        if (!open && !chunk.startsWith("HTTP/1.1 101")) return ended(chunk.split("\r\n", 1)[0]);
        if (open) heard();
        open = true;
      },
    });
    return () => open && socket.write("hold\n");
  },
  grpc(state, { name, host, port, authority, heard, ended }) {
    const session = sessionFor(name, host, port);
    session.on("error", (error) => ended(error.code ?? error.message));
    session.on("close", () => ended("closed"));
    const stream = session.request({
      ":method": "POST",
      ":path": "/shop.Echo/Hold",
      ":authority": authority,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("response", (headers) => headers[":status"] === 200 || ended(`status ${headers[":status"]}`));
    stream.on("data", heard);
    stream.on("error", (error) => ended(error.code ?? error.message));
    stream.on("close", () => ended("closed"));
    state.close = () => session.destroy();
    // uncompressed, four bytes
    return () => stream.writable && stream.write(Buffer.from([0, 0, 0, 0, 4, 1, 2, 3, 4]));
  },
};

function follow(socket, state, { heard, ended }) {
  state.close = () => socket.destroy();
  socket.on("data", (chunk) => heard(chunk.toString("latin1")));
  socket.on("end", () => ended("closed"));
  socket.on("close", () => ended("closed"));
  socket.on("error", (error) => ended(error.code ?? error.message));
}

const keptSessions = new Map();

/** As `agentFor`, of HTTP/2; a held gRPC stream keeps its connection under its own name. One that has ended is opened anew. */
function sessionFor(connection, host, port, tls) {
  const kept = keptSessions.get(connection);
  if (kept !== undefined && !kept.closed && !kept.destroyed) return kept;
  const session = http2.connect(`${tls ? "https" : "http"}://${host}:${port}`, tls).setMaxListeners(0);
  if (connection !== undefined && connection !== "new") keptSessions.set(connection, session);
  return session.on("error", () => undefined); // whoever uses it hears of it
}

/** One gRPC call with an empty message, and how it ended: a refusal of a sidecar is a status of gRPC, or one of HTTP. */
function rpc({ host, port, authority, path, connection, tls, timeoutMs = 5_000 }) {
  return new Promise((resolve) => {
    const session = sessionFor(connection, host, port, tls);
    const answer = {};
    const done = (more) => {
      stream.close();
      if (session !== keptSessions.get(connection)) session.destroy();
      resolve({ ...answer, ...more });
    };
    const head = { ":method": "POST", ":path": path, ":authority": authority };
    const stream = session.request({ ...head, "content-type": "application/grpc", te: "trailers" });
    const note = (headers) => {
      answer.alpn = session.alpnProtocol;
      if (headers[":status"] !== undefined) answer.status = headers[":status"];
      if (headers["grpc-status"] !== undefined) answer.grpcStatus = Number(headers["grpc-status"]);
      if (headers["x-shop-service"] !== undefined) answer.service = headers["x-shop-service"];
    };
    stream.setTimeout(timeoutMs, () => done({ error: "timeout" }));
    stream
      .on("response", note)
      .on("trailers", note)
      .on("data", () => undefined);
    // a stream that its connection took along names that one's error as its cause
    stream.on("error", (error) => done({ error: error.cause?.code ?? error.code ?? error.message }));
    stream.on("end", () => done({}));
    stream.on("close", () => done(answer.status === undefined ? { error: "closed" } : {}));
    stream.end(Buffer.alloc(5));
  });
}

const operations = {
  rpc,
  request,
  load,
  moreAnswers,
  tcp,
  hold,
  held: async ({ name }) => heldState(name),
  letGo: async ({ name }) => {
    held.get(name).close();
    return {};
  },
  stop: async () => {
    stopped = true;
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, ...parameters } = JSON.parse(line);
  if (op === "load") stopped = false;
  void operations[op](parameters).then((answer) => process.stdout.write(`${JSON.stringify({ id, answer })}\n`));
}
