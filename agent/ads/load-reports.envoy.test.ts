// Load reports as a real Envoy sends them: what its application answers arrives as answers, and nothing else does.
import { once } from "node:events";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ownGround } from "../../shared/testing/ground.ts";
import { applicationCluster } from "../xds/clusters.ts";
import { connectionManager } from "../xds/connection-manager.ts";
import { boundTo } from "../xds/listeners.ts";
import { formatName } from "../xds/names.ts";
import { eventually, findEnvoy } from "../xds/testing/envoy.ts";
import { createSwappableCredentials } from "./credentials.ts";
import type { Answers } from "./load-messages.ts";
import { classKey, startAgent, type TestAgent } from "./testing/agent.ts";
import { aProxyHome, startProxy, type ProxyHome, type TestProxy } from "./testing/proxy.ts";
import { aSnapshot } from "./testing/resources.ts";

const DEADLINE_MS = 60_000;
const SERVED_PORT = 8080;
const found = findEnvoy();
const envoy = "path" in found ? found.path : "";

describe.skipIf(envoy === "")("a sidecar that reports load", { timeout: 3 * DEADLINE_MS }, () => {
  let home: ProxyHome;
  let agent: TestAgent;
  let proxy: TestProxy;
  let application: Server;
  let listenPort: number;
  const heard: Answers[] = [];
  const total = () =>
    heard.reduce((sum, each) => ({ succeeded: sum.succeeded + each.succeeded, failed: sum.failed + each.failed }), {
      succeeded: 0,
      failed: 0,
    });

  beforeAll(async () => {
    home = aProxyHome();
    application = createServer((asked, answer) => {
      answer.statusCode = asked.url === "/bad" ? 503 : asked.url === "/missing" ? 404 : 200;
      answer.end();
    }).listen(0, "127.0.0.1");
    await once(application, "listening");
    listenPort = await (await ownGround()).port();
    const { port } = application.address() as AddressInfo;
    const cluster = formatName({ kind: "application", port: SERVED_PORT, protocol: "h1" });
    const routes = {
      name: "all",
      virtual_hosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster } }] }],
    };
    const manager = connectionManager({ statPrefix: "inbound", codec: "AUTO", routes: { inline: routes } });
    const snapshot = aSnapshot({
      cds: [applicationCluster(SERVED_PORT, "h1", { address: "127.0.0.1", port })],
      lds: [{ name: "inbound", ...boundTo("127.0.0.1", listenPort), filter_chains: [{ filters: [manager] }] }],
    });
    agent = await startAgent(createSwappableCredentials(home.agentIdentity()).credentials, {
      classify: () => ({
        key: classKey,
        proxy: {
          ...{ kind: "sidecar", namespace: "shop", serviceAccount: "front", workloadKind: "", workloadName: "" },
          inbound: [{ port: SERVED_PORT, protocol: "http" }],
        },
      }),
      onClass: ({ wanted }) => {
        if (wanted) setImmediate(() => agent.server.publish(classKey, snapshot));
      },
      onAnswers: (_peer, answers) => heard.push(answers),
    });
    agent.server.open();
    proxy = await startProxy(envoy, home, agent.port, { reportsLoad: true });
    await eventually("it serves", async () => ((await ask("/")) === 200 ? true : undefined), DEADLINE_MS);
  }, 2 * DEADLINE_MS);

  afterAll(async () => {
    await proxy.stop();
    await agent.stop();
    application.close();
    home.remove();
  });

  function ask(path: string): Promise<number> {
    return new Promise((resolve) => {
      const sent = request({ host: "127.0.0.1", port: listenPort, path, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
      sent.on("error", () => resolve(0));
      sent.end();
    });
  }

  const until = (what: string, holds: () => boolean) =>
    eventually(what, () => Promise.resolve(holds() || undefined), DEADLINE_MS);

  it("says how many requests were answered well, errors of the caller among them, and how many were not", async () => {
    // what was answered before the first report was asked for is nobody's to know
    while (total().succeeded === 0) expect(await ask("/")).toBe(200);
    const before = total();
    for (const path of ["/missing", "/bad", "/missing", "/bad", "/missing"]) await ask(path);
    await until("all five", () => total().failed >= 2 && total().succeeded >= before.succeeded + 3);
    expect(total().failed).toBe(2);
  });

  it("counts an application that takes no connections as one that fails", async () => {
    application.close();
    application.closeAllConnections();
    const before = total();
    await until("a refusal", () => {
      void ask("/");
      return total().failed > before.failed;
    });
  });
});
