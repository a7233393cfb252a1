import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Resolver } from "node:dns/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ownGround } from "../../shared/testing/ground.ts";
import { startDns } from "../dns/server.ts";
import { parseHosts } from "../dns/zone.ts";
import { DNS_PORT, startWorkloadDns, type WorkloadDns } from "./dns.ts";
import { factsOf } from "./testing/stand-in.ts";

const { net } = await ownGround();
const block = `${net}.16.0`;
let dir = "";
let dns: WorkloadDns | undefined;

beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "isthmus-names-"))));
afterEach(async () => {
  await dns?.close();
  rmSync(dir, { recursive: true, force: true });
});

async function start(blockStart: string): Promise<readonly string[]> {
  const said: string[] = [];
  const { sidecar } = factsOf("cart", { inbound: 1, application: 2, httpProxy: 3 });
  if (sidecar === undefined) throw new Error("the facts of a workload have a sidecar");
  const loopback = { rangeStart: `${net}.0.0`, blockStart };
  dns = await startWorkloadDns(
    { dir, sidecar: { ...sidecar, loopback } },
    { forward: false, overIpv6: false },
    (line) => said.push(line),
  );
  return said;
}

it("a workload's names are answered on its own block's first address, by any user", async () => {
  writeFileSync(join(dir, "hosts"), `${net}.16.1 cart.shop.svc.cluster.local\n`);
  expect(await start(block)).toEqual([]);
  expect(dns?.at[0]).toEqual({ address: block, port: DNS_PORT });
  const resolver = new Resolver();
  resolver.setServers([`${block}:${DNS_PORT}`]);
  expect(await resolver.resolve4("cart.shop.svc.cluster.local")).toEqual([`${net}.16.1`]);
});

it("a port that another program has is said, and is no reason to stop", async () => {
  const names = () => Promise.resolve(parseHosts(""));
  const other = await startDns({ address: block, port: DNS_PORT }, { names, ask: undefined });
  const said = await start(block);
  await other.close();
  expect(said).toEqual([`names are not answered: another program has ${block}:${DNS_PORT}`]);
});

it("without loopback addresses there is nothing to answer with", async () => {
  expect(await start("")).toEqual([]);
  expect(dns?.at).toEqual([]);
});
