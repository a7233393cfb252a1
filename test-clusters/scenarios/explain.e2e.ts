// Why a call is allowed or refused, and what a policy would change: what the commands say is what the wire does, across members.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { importUrl, untilStatus } from "../stage/asking.ts";
import type { Scene } from "../stage/fleet-under-test.ts";
import { openRunnersFleet, type RunnersFleet } from "../stage/runners-fleet.ts";
import { httpRouteGroup, serviceExport, trafficTarget, workload, type HttpMatch } from "../stage/workload.ts";

let fleet: RunnersFleet;
beforeAll(async () => {
  fleet = await openRunnersFleet();
});

/** `server` in west, exported and granted to `client` of east for these matches. */
async function withShop(namespace: string, match: HttpMatch, work: (scene: Scene) => Promise<void>): Promise<void> {
  const scene = await fleet.openScene(namespace, ["east", "west"]);
  const { image } = scene;
  const rule = { kind: "HTTPRouteGroup", name: "server" } as const;
  try {
    await scene.apply("west", [
      ...workload({ namespace, name: "server", image }),
      serviceExport(namespace, "server"),
      httpRouteGroup(namespace, "server", [match]),
      trafficTarget({ namespace, name: "server", to: "server", from: ["client"], sourceClusters: "east", rule }),
    ]);
    await scene.apply("east", workload({ namespace, name: "client", image }));
    await scene.ready("east");
    await work(scene);
  } finally {
    await scene.close();
  }
}

describe.concurrent("why, and what if", () => {
  test("explain says which object of which member allows a call or refuses it, and the wire agrees", () =>
    withShop("e2e-explain", { name: "public", pathRegex: "/public", methods: ["GET"] }, async (scene) => {
      const { namespace } = scene;
      const client = await scene.caller("east", "client");
      const at = (path: string) => importUrl("server", namespace, path);
      await untilStatus(client, at("/public/a"), 200);
      const allowed = await explained(namespace, "client", "/public/a");
      expect(allowed.outcome).toBe("allowed");
      expect(allowed.findings).toContainEqual(
        expect.objectContaining({ member: "west", why: "grant", object: `TrafficTarget ${namespace}/server` }),
      );
      expect((await client.request({ url: at("/admin") })).status).toBe(403);
      const refused = await explained(namespace, "client", "/admin");
      expect(refused).toMatchObject({ outcome: "refused" });
      expect(refused.findings).toContainEqual(expect.objectContaining({ member: "west", why: "no-match" }));
      expect(await explained(namespace, "stranger", "/public/a")).toMatchObject({ outcome: "refused" });
    }));

  test("a policy that is tried says what it would cut, nothing changes, and once applied it does what was said", () =>
    withShop("e2e-try", { name: "all", pathRegex: "/.*" }, async (scene) => {
      const { namespace } = scene;
      const client = await scene.caller("east", "client");
      const at = (path: string) => importUrl("server", namespace, path);
      await untilStatus(client, at("/other"), 200);
      const narrower = httpRouteGroup(namespace, "server", [{ name: "public", pathRegex: "/public" }]);
      const [west] = await tried(namespace, [narrower]);
      expect(west?.changes).toMatchObject([
        { effect: "cut", caller: `east/${namespace}/client`, content: "any method path /.*" },
      ]);
      expect((await client.request({ url: at("/other") })).status).toBe(200);
      await scene.apply("west", [narrower]);
      await untilStatus(client, at("/other"), 403);
      expect((await client.request({ url: at("/public") })).status).toBe(200);
    }));
});

interface Explained {
  readonly outcome: string;
  readonly findings: readonly { readonly member: string; readonly why: string }[];
}

async function explained(namespace: string, account: string, path: string): Promise<Explained> {
  const { product, hub } = fleet;
  const names = [`east/${namespace}/${account}`, `server.${namespace}.svc.clusterset.local:8080`];
  const text = await product.isthmus(["explain", ...names, "--path", path, "-o", "json", "--data", hub.dataDir]);
  return JSON.parse(text) as Explained;
}

interface Tried {
  readonly member: string;
  readonly changes: readonly object[];
}

/** In west, from a folder as a user has it. */
async function tried(namespace: string, manifests: readonly object[]): Promise<readonly Tried[]> {
  const folder = mkdtempSync(join(tmpdir(), `isthmus-${namespace}-`));
  try {
    manifests.forEach((manifest, index) => writeFileSync(join(folder, `${index}.json`), JSON.stringify(manifest)));
    const args = ["policy", "try", folder, "--member", "west", "-o", "json", "--data", fleet.hub.dataDir];
    const { members } = JSON.parse(await fleet.product.isthmus(args)) as { members: readonly Tried[] };
    return members;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
