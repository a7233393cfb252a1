// Trust of a fleet while it runs: who is cut off is, at once, and nobody else notices; who leaves comes back by a token alone; and no
// secret of the run is to be seen anywhere.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canariesOf, findCanaries, sinksOf } from "../sites/canaries.ts";
import { openCutOff, type CutOff } from "../stage/cut-off.ts";
import { joinWith } from "../joined/joined-fleet.ts";
import { asClusters, asSites, openRunnersFleet, runnersFleetKind, type RunnersFleet } from "../stage/runners-fleet.ts";
import { until } from "../stage/until.ts";

/** On a busy machine a timing row asserts three times its bar; the bars themselves belong to the bench `revoke`. */
const BUSY = 3;
const onSites = runnersFleetKind() === "sites";

let fleet: RunnersFleet;
let cutOff: CutOff;

beforeAll(async () => {
  fleet = await openRunnersFleet();
  cutOff = await openCutOff(fleet, "e2e-trust");
});

afterAll(() => cutOff.close());

async function stateOf(member: string): Promise<string> {
  const text = await fleet.product.isthmus(["clusters", "-o", "json", "--data", fleet.hub.dataDir]);
  const { clusters } = JSON.parse(text) as { readonly clusters: readonly { cluster: string; state: string }[] };
  return clusters.find(({ cluster }) => cluster === member)?.state ?? "unknown";
}

describe.runIf(onSites)("the secrets of this run", () => {
  test("are in no log, error, metric, Redis, argument, environment or dump of Envoy", async () => {
    const sites = asSites(fleet);
    const { tokenFile, place } = sites.site("east");
    const elsewhere = mkdtempSync(join(tmpdir(), "isthmus-canary-"));
    try {
      const ports = ["--ads-port", "15238", "--admin-port", "15124", "--gateway", `${place.address}:15553`];
      const options = ["--data", join(elsewhere, "data"), "--manifests", elsewhere, "--token-file", tokenFile];
      // redeemed already, by other keys: refused, counted and audited, and the message must not repeat it
      const refusal = await sites.product.refusal(["site", ...options, "--address", place.address, ...ports]);
      expect(refusal).toMatch(/ISTHMUS_TOKEN_USED/);
      const canaries = await canariesOf(sites);
      const sinks = await sinksOf(sites, [{ name: "the refusal", content: refusal }]);
      process.stdout.write(`${canaries.length} secrets looked for in ${sinks.length} places\n`);
      expect(canaries.length).toBeGreaterThan(10);
      expect(sinks.some(({ content }) => content.includes("token.replayed"))).toBe(true);
      expect(sinks.some(({ content }) => /isthmus_hub_joins_total\{result="used"\} [1-9]/.test(content))).toBe(true);
      expect(findCanaries(canaries, sinks)).toEqual([]);
    } finally {
      rmSync(elsewhere, { recursive: true, force: true });
    }
  });
});

describe("a member that is revoked", () => {
  test("gets no new connection, its open ones are closed whatever they carry, and nobody else loses a request", async () => {
    const result = await cutOff.revoke();
    process.stdout.write(`revoked: ${JSON.stringify(result)}\n`);
    expect(result.newRefusedMs).toBeLessThan(5_000 * BUSY);
    expect(Math.max(...Object.values(result.closedMs))).toBeLessThan(30_000 * BUSY);
    expect(result.othersFailed, result.othersSaid.join("; ")).toBe(0);
  }, 180_000);

  test("is taken again when that is undone", async () => {
    process.stdout.write(`trusted again after ${await cutOff.reinstate()} ms\n`);
    await until("east to be connected again", 60_000, async () => (await stateOf("east")) === "connected");
  }, 120_000);
});

describe.runIf(onSites)("a member that leaves", () => {
  const data = () => ["--data", fleet.hub.dataDir];

  test("by its own word is no member any more, knows it, and comes back by a new token with new keys", async () => {
    const north = asSites(fleet).site("north");
    expect(await fleet.product.isthmus(["leave", "--site", north.dataDir])).toMatch(/has left/);
    expect(await stateOf("north")).toBe("left");
    await until("north to know it", 60_000, async () =>
      /^isthmus_agent_cut_off 1$/m.test(await (await fetch(north.adminUrl("/metrics"))).text()),
    );
    expect(JSON.stringify(await north.debug("problems"))).toContain("ISTHMUS_MEMBER_LEFT");
    const identity = join(north.dataDir, "identity.json");
    const before = readFileSync(identity, "utf8");
    // its former cluster CA lives for days, and nobody could tell it from the next one
    expect(await fleet.product.refusal(["token", "create", "north", ...data()])).toMatch(/ISTHMUS_NAME_RESTS/);
    rmSync(north.tokenFile);
    const words = ["token", "create", "north", "--trust-former", ...data(), "--out", north.tokenFile];
    await fleet.product.isthmus(words);
    // nothing is removed and nothing restarted: the site finds its token
    await until("north to be connected", 60_000, async () => (await stateOf("north")) === "connected");
    expect(readFileSync(identity, "utf8")).not.toBe(before);
  }, 180_000);
});

describe.runIf(!onSites)("a cluster that leaves", () => {
  test("does so through its agent, and comes back by a join with a new token, with new keys", async () => {
    const { up } = asClusters(fleet);
    const caOf = async () => {
      const read = [
        "get",
        "secret",
        "isthmus-cluster-ca",
        "-n",
        "isthmus-system",
        "-o",
        "jsonpath={.data.clusterCaKeyPem}",
      ];
      return up.fleet.cluster("north").kubectl(read);
    };
    const before = await caOf();
    expect(await fleet.product.isthmus(["leave", "--context", "north"])).toMatch(/north has left/);
    expect(await stateOf("north")).toBe("left");
    const folder = mkdtempSync(join(tmpdir(), "isthmus-rejoin-"));
    try {
      const token = join(folder, "token");
      const words = ["token", "create", "north", "--trust-former", "--data", fleet.hub.dataDir, "--out", token];
      await fleet.product.isthmus(words);
      await joinWith(up, "north", token);
      await until("north to be connected", 120_000, async () => (await stateOf("north")) === "connected");
      expect(await caOf()).not.toBe(before);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 240_000);
});
