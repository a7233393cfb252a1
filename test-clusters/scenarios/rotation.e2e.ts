// The root is rotated on three sites while they call each other: whole, with the hub killed on the way, and taken back. The bench
// `rotation` plays every case at full load; these rows say that it works.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startVault } from "../../hub/ca/testing/vault-stand-in.ts";
import { silentProgress } from "../../shared/progress.ts";
import { bringUpSites, type SiteFleet } from "../sites/site-fleet.ts";
import { hubLifetimes, siteLifetimes } from "../stage/rotation-lifetimes.ts";
import { openRotationStage, type RotationStage, type Traffic } from "../stage/rotation-stage.ts";
import { until } from "../stage/until.ts";

const RPS = 50;
const ROTATION_MS = 240_000;
let fleet: SiteFleet;
let stage: RotationStage;

beforeAll(async () => {
  const settings = { hub: hubLifetimes, site: siteLifetimes };
  fleet = await bringUpSites(["east", "west", "north"], silentProgress, settings);
  stage = await openRotationStage(fleet, "e2e-rotation", RPS);
});

afterAll(async () => {
  await stage.close();
  await fleet.run.down();
});

const rootOf = async () => (await stage.trust()).roots.map(({ id }) => id);

function expectNoLoss({ failed, requests, said }: Traffic): void {
  expect(failed, said.join("; ")).toBe(0);
  expect(requests).toBeGreaterThan(0); // how many is a matter of how long the rotation took
}

describe("no request is lost, and no pod restarted, when the root", () => {
  test(
    "is taken back while it signs",
    async () => {
      const before = await rootOf();
      const traffic = await stage.during(async () => {
        await stage.isthmus("rotate", "root", "--hold", "signing");
        await stage.untilHeldIn("signing");
        await stage.isthmus("rotate", "rollback", "--wait");
      });
      expectNoLoss(traffic);
      expect(await rootOf()).toEqual(before);
    },
    ROTATION_MS,
  );

  test(
    "is compromised and leaves at once",
    async () => {
      expectNoLoss(await stage.during(() => stage.isthmus("rotate", "root", "--emergency", "--wait")));
      expect(await rootOf()).toHaveLength(1);
    },
    ROTATION_MS,
  );

  test(
    "moves to Vault and the hub is killed in the middle: in the end everybody is below an issuing CA of the hub",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "isthmus-vault-"));
      const vault = await startVault(fleet.hub.dataDir, folder);
      try {
        const before = await rootOf();
        const traffic = await stage.during(async () => {
          await stage.isthmus("rotate", "root", "--to", "vault", "--hold", "signing");
          await until("the new root to sign", 60_000, async () => (await stage.trust()).rotation?.step === "signing");
          await fleet.hub.kill();
          await fleet.hub.start();
          await stage.isthmus("rotate", "resume");
          expect(await stage.untilOver()).toBe("completed");
        });
        expectNoLoss(traffic);
        const { roots, members } = await stage.trust();
        expect(roots.map(({ id, kind, state }) => [before.includes(id), kind, state])).toEqual([
          [false, "vault", "signing"],
        ]);
        const agents = members.flatMap((member) => member.agents);
        expect(agents).toHaveLength(3);
        for (const { proxies, roots: held } of agents) {
          expect(proxies).toBeGreaterThan(0);
          expect(held).toMatchObject([{ trustedBy: proxies, usedBy: proxies, provenBy: proxies, clusterCa: true }]);
        }
        expect(vault.signed()).toBe(1);
      } finally {
        await vault.close();
        await rm(folder, { recursive: true });
      }
    },
    ROTATION_MS,
  );

  test("stays, and one member gets a new cluster CA", async () => {
    expectNoLoss(await stage.during(() => stage.isthmus("rotate", "cluster-ca", "west", "--wait")));
  });
});
