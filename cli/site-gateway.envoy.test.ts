// The gateway's Envoy of a site as a real process: told when it is ready, ended with its site, and refused where it cannot listen.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../shared/clock.ts";
import { UserError } from "../shared/errors.ts";
import { findEnvoy } from "../agent/xds/testing/envoy.ts";
import { isAlive } from "./child-process.ts";
import { runGateway } from "./site-gateway.ts";
import { openRunFolder } from "./workload/run-folder.ts";
import { factsOf, staticProxy, writeCredential } from "./workload/testing/stand-in.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const found = findEnvoy();
let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ist-gateway-"));
  mkdirSync(join(dir, "run"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

interface Watch {
  readonly onReady: (pid: number | undefined) => void;
  readonly signal: AbortSignal;
}

async function gateway(inbound: number, { onReady, signal }: Watch): Promise<void> {
  const sockets = { inbound, application: 1, httpProxy: 1 };
  writeCredential(join(dir, "gateway"), factsOf("isthmus-gateway", sockets));
  const folder = await openRunFolder(join(dir, "run", "gateway"), () => new UserError("ISTHMUS_SITE_RUNNING", "runs"));
  const program = "path" in found ? found.path : "";
  const plan = { program, folder, bind: { host: "127.0.0.1", port: inbound }, makeProxy: staticProxy(sockets) };
  await runGateway(plan, join(dir, "gateway"), { clock: systemClock, say: () => undefined, onReady }, signal);
}

describe.skipIf("missing" in found)("the gateway of a site", () => {
  it("is ended with its site", async () => {
    const stop = new AbortController();
    const ready = Promise.withResolvers<number | undefined>();
    const running = gateway(0, { onReady: ready.resolve, signal: stop.signal });
    const pid = await ready.promise;
    expect(isAlive(pid ?? 0)).toBe(true);
    stop.abort(new Error("the site ends"));
    await running;
    expect(isAlive(pid ?? 0)).toBe(false);
  });

  it("does not start where another program listens", async () => {
    const other = createServer();
    await new Promise<void>((done) => other.listen(0, "127.0.0.1", done));
    const watch = { onReady: () => undefined, signal: new AbortController().signal };
    const { port } = other.address() as AddressInfo;
    const error = await gateway(port, watch).catch((cause: unknown) => cause);
    other.close();
    expect(error).toMatchObject({ code: "ISTHMUS_PORT_TAKEN" });
  });
});
