// A rotation of the root between a real hub and a real site's agent: what the agent shows, renews and keeps.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { TrustOverview } from "../hub/api/trust-overview.ts";
import { makeDataDir, startTestHub, type TestHub } from "../hub/testing/hub.ts";
import { capturedLog } from "../hub/testing/redis.ts";
import { systemClock } from "../shared/clock.ts";
import { formatJoinToken, parseJoinToken } from "../shared/join-token.ts";
import { parseChainPem } from "../shared/pki/pem.ts";
import { decodeIdentity, type JoinedIdentity } from "./identity/identity-state.ts";
import { openIdentity } from "./identity/agent-credential.ts";
import { credentialFile, gatewayFolder } from "./site/credential-folder.ts";
import { makeSiteFolder, workloadManifest, type SiteFolder } from "./site/testing/site-folder.ts";
import { runSite } from "./site-agent.ts";

let hub: TestHub;
let folder: SiteFolder;
let stop: () => Promise<void>;
let dataDir: string;

beforeEach(async () => {
  hub = await startTestHub({ data: await makeDataDir(), allowLoopback: true, retireSkew: "1s" });
  folder = await makeSiteFolder();
}, 180_000);

afterEach(async () => {
  await stop();
  await hub.stop();
  await folder.remove();
}, 180_000);

async function startSite(): Promise<void> {
  const token = parseJoinToken(await hub.tokenFor("east"));
  if (!token.ok) throw new Error("no token");
  const tokenFile = join(folder.top, "token");
  await writeFile(tokenFile, formatJoinToken({ ...token.value, hub: hub.address }));
  const config = { ...(await folder.config({ tokenFile })), svidTtlMs: 2_000 };
  ({ dataDir } = config);
  const ending = new AbortController();
  const ready = Promise.withResolvers<unknown>();
  const deps = { clock: systemClock, random: () => 0.5, log: capturedLog(), version: "test", onReady: ready.resolve };
  const running = runSite(config, ending.signal, deps);
  stop = async () => {
    ending.abort(new Error("the test has ended"));
    await running;
  };
  await Promise.race([ready.promise, running]);
}

const overview = async () => (await hub.operator("GET", "/v1/trust")) as unknown as TrustOverview;
const eventually = (holds: () => Promise<void>) => vi.waitFor(holds, { timeout: 80_000, interval: 100 });

async function kept(): Promise<JoinedIdentity> {
  const text = await readFile(join(dataDir, "identity.json"), "utf8");
  const state = decodeIdentity(JSON.parse(text) as Record<string, string>);
  if (!state.ok || state.value.stage !== "joined") throw new Error("no identity");
  return state.value;
}

describe("a site's agent while the root is rotated", { timeout: 180_000 }, () => {
  it("gets everything under the new root, keeps it, and gives its proxies the new trust file", async () => {
    await startSite();
    const before = await kept();
    await hub.operator("POST", "/v1/rotation", {});
    await eventually(async () => expect((await overview()).lastRotation?.outcome).toBe("completed"));
    await eventually(async () => expect((await kept()).bundle.rootsDer).toHaveLength(1));
    const after = await kept();
    expect(after.bundle.rootsDer).not.toEqual(before.bundle.rootsDer);
    expect(openIdentity(after).ok).toBe(true);
    await eventually(async () => {
      const file = parseChainPem(await readFile(join(gatewayFolder(dataDir), credentialFile.roots), "utf8"));
      expect(file.ok && file.value.map((der) => Buffer.from(der))).toEqual(
        after.bundle.rootsDer.map((der) => Buffer.from(der)),
      );
    });
  });

  it("holds the rotation up for a workload whose sidecar has no agent, and names it", async () => {
    await folder.write("cart.yaml", workloadManifest("cart"));
    await startSite();
    await hub.operator("POST", "/v1/rotation", {});
    await eventually(async () => {
      const { rotation } = await overview();
      expect(rotation?.blockers).toEqual([
        { cluster: "east", reason: "sidecars without an agent: shop/cart", away: false },
      ]);
    });
    expect((await overview()).rotation?.step).toBe("trusted");
  });
});
