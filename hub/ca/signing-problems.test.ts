// What an authority says of itself while its upstream or its token is away.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock, type Clock } from "../../shared/clock.ts";
import type { FleetDomain } from "../../shared/ids.ts";
import { initAuthority, openAuthority, type Authority } from "./authority.ts";
import { completeOfflineFleet, beginOfflineFleet } from "./new-fleet.ts";
import { opensslCa } from "./testing/openssl-ca.ts";
import { startVault, type VaultStandIn } from "./testing/vault-stand-in.ts";

const fleetDomain = "acme.mesh" as FleetDomain;
const serverNames = { dnsNames: ["hub.example.com"], ipAddresses: [] };
const dayMs = 24 * 3_600_000;

let folder: string;
let aheadMs: number;
const clock: Clock = {
  ...systemClock,
  now: () => Date.now() + aheadMs,
  sleep: (ms, signal) => systemClock.sleep(ms, signal),
};
const codes = async (authority: Authority) => (await authority.signingProblems()).map(({ code }) => code);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-signing-"));
  aheadMs = 60_000; // what openssl signs during a test begins before that
});
afterEach(() => rm(folder, { recursive: true }));

it("a fleet that signs with its own root has nothing to say", async () => {
  const authority = await initAuthority(folder, { fleetDomain, serverNames, clock });
  expect(await codes(authority)).toEqual([]);
  expect(authority.issuingCaLifeOver()).toBe(0);
});

describe("a fleet below Vault", () => {
  let vault: VaultStandIn;
  let authority: Authority;

  beforeEach(async () => {
    vault = await startVault(folder, folder);
    authority = await initAuthority(folder, { fleetDomain, serverNames, clock, root: "vault" });
  });
  afterEach(() => vault.close());

  it("says that its issuing CA is not renewed, from the first failure until it is", async () => {
    expect(await codes(authority)).toEqual([]);
    aheadMs += 46 * dayMs;
    vault.seal(true);
    expect(await codes(authority)).toEqual(["ISTHMUS_ISSUER_RENEWAL"]);
    const [problem] = await authority.signingProblems();
    expect(problem?.message).toContain("Vault is sealed");
    expect(authority.issuingCaLifeOver()).toBeGreaterThan(0.5);
    vault.seal(false);
    expect(await codes(authority)).toEqual(["ISTHMUS_ISSUER_RENEWAL"]); // not asked more than once a minute
    aheadMs += 60_000;
    expect(await codes(authority)).toEqual([]);
    expect(vault.signed()).toBe(2);
  });

  it("says that it does not sign at all once the issuing CA has ended", async () => {
    vault.seal(true);
    aheadMs += 91 * dayMs;
    expect(await codes(authority)).toEqual(["ISTHMUS_SIGNER_AWAY", "ISTHMUS_ISSUER_RENEWAL"]);
  });
});

it("a fleet below an offline root says when its request is to be signed anew", async () => {
  const requestFile = await beginOfflineFleet(folder, { fleetDomain, serverNames, clock });
  await completeOfflineFleet(folder, opensslCa(folder).sign(requestFile), clock);
  const authority = await openAuthority(folder, clock);
  expect(await codes(authority)).toEqual([]);
  aheadMs += 190 * dayMs;
  expect(await codes(authority)).toEqual(["ISTHMUS_CERTIFICATE_AGING"]);
});
