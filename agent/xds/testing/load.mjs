// Sends requests one after another over several connections until told to stop (stdin closes), then says what came back.
import { Agent, request } from "node:http";

const [url, connections] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const result = { ok: 0, failed: 0, byName: {}, slowestMs: 0, connections: 0, errors: [] };
const sockets = new Set();
let stopped = false;
process.stdin.resume().on("end", () => (stopped = true));

function once() {
  return new Promise((resolve) => {
    const started = performance.now();
    const done = (error, name) => {
      result.slowestMs = Math.max(result.slowestMs, Math.round(performance.now() - started));
      if (error === undefined) result.ok += 1;
      else {
        result.failed += 1;
        if (!result.errors.includes(error)) result.errors.push(error);
      }
      if (name !== undefined) result.byName[name] = (result.byName[name] ?? 0) + 1;
      resolve();
    };
    const sent = request(url, { agent }, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () =>
        response.statusCode === 200 ? done(undefined, JSON.parse(text).name) : done(`${response.statusCode} ${text}`),
      );
    });
    sent.on("socket", (socket) => {
      if (!sockets.has(socket)) result.connections = sockets.add(socket).size;
    });
    sent.on("error", (error) => done(String(error)));
    sent.end();
  });
}

async function connection() {
  while (!stopped && result.ok + result.failed < 20_000) await once();
}

console.log("started");
await Promise.all(Array.from({ length: Number(connections) }, connection));
console.log(JSON.stringify(result));
agent.destroy();
