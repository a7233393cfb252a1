// What the agent writes for services of other members, against a real API server: imports, their derived Services, and conditions of
// exports; what it leaves alone, and that an unchanged world costs nothing.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ServiceImportIr } from "../ir/types.ts";
import type { KubeClient } from "./client.ts";
import { createExportWriter } from "./export-conditions.ts";
import { fieldOf, type JsonObject } from "./json.ts";
import type { Kube } from "./kube.ts";
import * as resources from "./resources.ts";
import { createImportsWriter } from "./service-imports.ts";
import { openCluster, write, type OpenedCluster } from "./testing/cluster-state.ts";
import { kubePrograms } from "./testing/real-api-server.ts";
import { read, until } from "./testing/waiting.ts";
import { writing } from "./testing/writing.ts";

const programs = await kubePrograms();
const { namespaces, services, serviceExports, serviceImports } = resources;

let cluster: OpenedCluster | undefined;
let kube: Kube;
let client: KubeClient;

async function namespace(name: string): Promise<void> {
  await write(client, namespaces, name);
  await until(kube, `namespace ${name}`, () => kube.stores.namespaces.get("", name) !== undefined);
}

const http = { ports: [{ name: "http", port: 80 }] };

describe.skipIf(programs === undefined)("what the agent writes of services", { timeout: 90_000 }, () => {
  beforeAll(async () => {
    cluster = await openCluster(programs!, { namespaces: [] });
    ({ kube } = cluster);
    ({ client } = kube);
  }, 120_000);

  afterAll(() => cluster?.close());

  function anImport(name: string, more: Partial<ServiceImportIr> = {}): ServiceImportIr {
    const port = { name: "http", port: 80, protocol: "TCP" as const, appProtocol: "" };
    return { namespace: "shop", name, type: "ClusterSetIP", ports: [port], ips: [], clusters: ["west"], ...more };
  }

  it("makes a ServiceImport with the address of its derived Service, and removes both when nobody exports it", async () => {
    await namespace("shop");
    const writer = createImportsWriter(kube);
    const seen = (name: string) => kube.stores.imports.get("shop", name)?.record;
    const derived = (name: string) => kube.stores.services.get("shop", `isthmus-${name}`)?.record;
    await writing(writer, async () => {
      const udp = { name: "", port: 53, protocol: "UDP" as const, appProtocol: "" };
      const imports = [
        anImport("cart", { ports: [...anImport("cart").ports, udp] }),
        anImport("db", { type: "Headless" }),
      ];
      writer.want({ imports, hubConnected: true });
      await until(
        kube,
        "ready",
        () => fieldOf(seen("cart")?.status, "clusters") !== undefined && seen("db") !== undefined,
      );
      await until(kube, "the Service", () => derived("cart") !== undefined);
      expect(derived("cart")).toMatchObject({ importOf: "shop/cart", selector: {}, type: "ClusterIP" });
      expect(derived("cart")?.ports.map(({ name, protocol }) => [name, protocol])).toEqual([
        ["http", "TCP"],
        ["p53-udp", "UDP"],
      ]);
      await until(kube, "its address", () => seen("cart")?.spec["ips"] !== undefined);
      expect(seen("cart")?.spec["ips"]).toEqual(derived("cart")?.clusterIps);
      expect(derived("db")).toBeUndefined();
      // the hub is away: an empty wish removes nothing, and says so
      writer.want({ imports: [anImport("cart", { ports: imports[0]!.ports })], hubConnected: false });
      await until(kube, "the message", () => JSON.stringify(seen("cart")?.status).includes("not reachable"));
      expect(seen("db")).toBeDefined();
      writer.want({ imports: [], hubConnected: true });
      await until(
        kube,
        "gone",
        () => seen("cart") === undefined && derived("cart") === undefined && seen("db") === undefined,
      );
    });
  });

  it("leaves imports and Services of others alone, and names the obstacle", async () => {
    await namespace("foreign");
    await write(client, serviceImports, "foreign/theirs", { spec: { type: "ClusterSetIP", ports: [{ port: 80 }] } });
    await write(client, services, "foreign/isthmus-taken", { spec: http });
    await until(
      kube,
      "both",
      () =>
        kube.stores.imports.get("foreign", "theirs") !== undefined &&
        kube.stores.services.get("foreign", "isthmus-taken") !== undefined,
    );
    const writer = createImportsWriter(kube);
    await writing(writer, async () => {
      const of = (name: string) => anImport(name, { namespace: "foreign" });
      writer.want({
        imports: [of("theirs"), of("taken"), of("x".repeat(60)), of("fine"), anImport("a", { namespace: "absent" })],
        hubConnected: true,
      });
      await until(
        kube,
        "the good one",
        () => kube.stores.imports.get("foreign", "fine")?.record?.status["clusters"] !== undefined,
      );
      writer.want({ imports: [of("fine")], hubConnected: true });
      await until(
        kube,
        "the Service of the good one",
        () => kube.stores.services.get("foreign", "isthmus-fine") !== undefined,
      );
    });
    expect(kube.stores.imports.get("foreign", "theirs")?.record?.spec["ips"]).toBeUndefined();
    expect(kube.stores.services.get("foreign", "isthmus-taken")?.record?.importOf).toBe("");
    expect(kube.stores.imports.get("foreign", "taken")).toBeUndefined();
  });

  it("writes an unchanged wish once", async () => {
    await namespace("calm");
    const calls: string[] = [];
    const counting: KubeClient = {
      ...client,
      apply: (at, body, force) => (calls.push(resources.titleOf(at)), client.apply(at, body, force)),
    };
    const writer = createImportsWriter({ ...kube, client: counting });
    const wish = { imports: [anImport("cart", { namespace: "calm" })], hubConnected: true };
    await writing(writer, async () => {
      writer.want(wish);
      await until(
        kube,
        "made",
        () =>
          kube.stores.imports.get("calm", "cart")?.record?.status["clusters"] !== undefined &&
          kube.stores.imports.get("calm", "cart")?.record?.spec["ips"] !== undefined &&
          kube.stores.services.get("calm", "isthmus-cart") !== undefined,
      );
      const made = calls.length;
      writer.want(wish);
      writer.want({ ...wish, imports: [...wish.imports, anImport("next", { namespace: "calm" })] });
      await until(kube, "the next", () => kube.stores.imports.get("calm", "next") !== undefined);
      expect(calls.slice(made).filter((title) => title.includes("cart"))).toEqual([]);
    });
  });

  it("shows conditions on a ServiceExport and keeps their times", async () => {
    await namespace("exports");
    await write(client, serviceExports, "exports/cart");
    await until(kube, "the export", () => kube.stores.exports.get("exports", "cart") !== undefined);
    const writer = createExportWriter(kube);
    const at = { resource: serviceExports, namespace: "exports", name: "cart" };
    const conditions = async () =>
      fieldOf(await client.get(at), "status", "conditions") as readonly JsonObject[] | undefined;
    const wish = (message: string) => [
      {
        namespace: "exports",
        name: "cart",
        conditions: [{ type: "Valid" as const, status: "True" as const, reason: "Valid", message }],
      },
    ];
    await writing(writer, async () => {
      writer.want(wish("one"));
      const first = await read(conditions, (found) => found?.[0]?.["message"] === "one");
      writer.want(wish("two"));
      const second = await read(conditions, (found) => found?.[0]?.["message"] === "two");
      expect(second?.[0]).toMatchObject({
        type: "Valid",
        status: "True",
        lastTransitionTime: first?.[0]?.["lastTransitionTime"],
        observedGeneration: 1,
      });
    });
  });
});
