// The command line on a fleet that runs: what it shows, and what it refuses.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openRunnersFleet, runnersFleetKind, type RunnersFleet } from "../stage/runners-fleet.ts";
import { until } from "../stage/until.ts";

const onClusters = runnersFleetKind() === "clusters";
let fleet: RunnersFleet;
beforeAll(async () => {
  fleet = await openRunnersFleet();
});

describe.concurrent("the command line", () => {
  const data = () => ["--data", fleet.hub.dataDir];

  test("shows the fleet on one screen and as JSON", async () => {
    const status = JSON.parse(await fleet.product.isthmus(["status", "-o", "json", ...data()])) as {
      readonly clusters: readonly { readonly cluster: string; readonly state: string }[];
    };
    const connected = status.clusters.filter(({ state }) => state === "connected").map(({ cluster }) => cluster);
    expect(connected.sort()).toEqual(["east", "north", "west"]);
    expect(await fleet.product.isthmus(["status", ...data()])).toMatch(/CLUSTER +STATE/);
  });

  test("refuses a cluster name that is taken or no DNS label, with a code and a next step", async () => {
    expect(await fleet.product.refusal(["token", "create", "east", ...data()])).toMatch(/error ISTHMUS_\w+: .*east/);
    expect(await fleet.product.refusal(["token", "create", "Not_A_Label", ...data()])).toMatch(
      /error ISTHMUS_CLUSTER_NAME/,
    );
  });

  // a site's own refusals are in sites.e2e.ts
  test.runIf(onClusters)("refuses a token that is cut off, and one that has expired", async () => {
    const folder = mkdtempSync(join(tmpdir(), "isthmus-token-"));
    try {
      const file = join(folder, "token");
      await fleet.product.isthmus(["token", "create", "south", ...data(), "--ttl", "1s", "--out", file]);
      const whole = readFileSync(file, "utf8");
      writeFileSync(file, whole.slice(0, 40), { mode: 0o600 });
      const joinWith = ["join", "--token-file", file, "--context", "east"];
      expect(await fleet.product.refusal(joinWith)).toMatch(/error ISTHMUS_TOKEN_MALFORMED/);
      writeFileSync(file, whole, { mode: 0o600 });
      await until("the token to expire", 10_000, () => Promise.resolve(Date.now() > expiryOf(whole)));
      expect(await fleet.product.refusal(joinWith)).toMatch(/error ISTHMUS_TOKEN_EXPIRED/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** The token's body is base64url of JSON; its `exp` is no secret. */
function expiryOf(token: string): number {
  const body = JSON.parse(Buffer.from(token.trim().slice("isthmus1.".length), "base64url").toString()) as {
    exp: number;
  };
  return body.exp;
}
