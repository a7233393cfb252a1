// Against a real SoftHSM2 (Debian: apt install softhsm2) and the real native module; skipped, aloud and with the reason as the tests'
// name, where one of them is missing: `npm test` builds the module (shared/tooling/native-module.ts), `npm ci --ignore-scripts` brings its source alone.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { isBundleSigned } from "../../shared/pki/bundle-signature.ts";
import { checkReceived } from "../../shared/pki/chain.ts";
import { generateKeyPem, spkiOfKeyPem } from "../../shared/pki/key.ts";
import { parseChainPem } from "../../shared/pki/pem.ts";
import { clusterCaTemplate } from "../../shared/pki/template.ts";
import { buildRequest } from "../../shared/pki/x509-builder.ts";
import { initAuthority, openAuthority } from "./authority.ts";
import { openKeyStore } from "./key-store.ts";

const libraries = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/libsofthsm2.so"];
const modulePath = libraries.find((path) => existsSync(path));

function whyNot(): string | undefined {
  if (modulePath === undefined) return "SoftHSM2 is not installed";
  try {
    createRequire(import.meta.url)("pkcs11js");
    return undefined;
  } catch {
    return "pkcs11js was not built: npm rebuild pkcs11js";
  }
}

const missing = whyNot();
// not with CI=true as elsewhere: an installation without scripts, which is a good one, does not build the module
if (missing !== undefined) console.warn(`skipped: a fleet whose keys are in a PKCS#11 token: ${missing}`);
const fleetDomain = "acme.mesh" as FleetDomain;
const east = "east" as ClusterName;
const serverNames = { dnsNames: ["hub.example.com"], ipAddresses: ["127.0.0.1"] };

let folder: string;
let uri: string;

/** SoftHSM2 reads its configuration once per process, so one folder serves all tests here. */
beforeAll(async () => {
  if (missing !== undefined) return;
  folder = await mkdtemp(join(tmpdir(), "isthmus-softhsm-"));
  await mkdir(join(folder, "tokens"));
  await writeFile(
    join(folder, "softhsm2.conf"),
    `directories.tokendir = ${join(folder, "tokens")}\nlog.level = ERROR\n`,
  );
  process.env["SOFTHSM2_CONF"] = join(folder, "softhsm2.conf");
  await writeFile(join(folder, "pin"), "4711\n", { mode: 0o400 });
  const label = ["--init-token", "--free", "--label", "fleet keys", "--pin", "4711", "--so-pin", "1147"];
  execFileSync("softhsm2-util", label, { stdio: "pipe" });
  uri = uriWith({});
});
afterAll(async () => {
  if (missing === undefined) await rm(folder, { recursive: true });
});

function uriWith({ token = "fleet%20keys", library = modulePath, pin = join(folder, "pin") }): string {
  return `pkcs11:token=${token}?module-path=${library}&pin-source=file:${pin}`;
}

let fleets = 0;
/** A fleet whose keys are in the token. Each has a domain of its own: they share it. */
async function newFleet() {
  fleets += 1;
  const dataDir = await mkdtemp(join(folder, "data-"));
  const domain = `fleet-${fleets}.mesh` as FleetDomain;
  const options = { fleetDomain: domain, serverNames, clock: systemClock, place: { keys: uri } };
  return { dataDir, domain, authority: await initAuthority(dataDir, options) };
}

describe.skipIf(missing !== undefined)(missing ?? "a fleet whose keys are in a PKCS#11 token", () => {
  it("signs cluster CAs whose chain holds, and goes on after a restart", async () => {
    const { dataDir, domain, authority } = await newFleet();
    for (const hub of [authority, await openAuthority(dataDir, systemClock)]) {
      const keyPem = generateKeyPem();
      const issued = await hub.issueClusterCa(east, await buildRequest(keyPem));
      const roots = parseChainPem(hub.rootsPem());
      const received = checkReceived({
        chainDer: issued.ok ? issued.value : [],
        rootsDer: roots.ok ? roots.value : [],
        spkiDer: spkiOfKeyPem(keyPem),
        template: (validity) => clusterCaTemplate(east, domain, validity),
      });
      expect(received.ok).toBe(true);
      expect(isBundleSigned(hub.bundle())).toBe(true);
    }
  });

  it("has no signing key in its data folder, and what is sealed there opens only with the token", async () => {
    const { dataDir, domain } = await newFleet();
    expect(await readdir(join(dataDir, "keys"))).toEqual([expect.stringMatching(/^server-/)]);
    expect(await readdir(dataDir)).not.toContain("kek");
    const file = JSON.parse(await readFile(join(dataDir, "fleet.json"), "utf8")) as { roots: { id: string }[] };
    const id = file.roots[0]!.id;
    await writeFile(join(dataDir, "kek"), Buffer.alloc(32, 1).toString("base64url"), { mode: 0o400 });
    const without = await openKeyStore({ dataDir, fleetDomain: domain, place: {} });
    await expect(without.open(id, "server")).rejects.toMatchObject({ code: "ISTHMUS_KEY_SEAL" });
  });

  it("keeps keys that the token gives to nobody", async () => {
    const { domain } = await newFleet();
    const args = ["--module", modulePath!, "--token-label", "fleet keys", "--login", "--pin", "4711"];
    const listed = execFileSync("pkcs11-tool", [...args, "--list-objects"], { encoding: "utf8", stdio: "pipe" });
    expect(listed).toContain(`isthmus ${domain} root`);
    const read = ["--read-object", "--type", "secrkey", "--label", `isthmus ${domain} kek`];
    expect(() => execFileSync("pkcs11-tool", [...args, ...read], { stdio: "pipe" })).toThrow();
  });

  it("signs many at once, each its own", async () => {
    const { authority } = await newFleet();
    const all = await Promise.all(
      Array.from({ length: 20 }, async () => authority.issueAgent(east, await buildRequest(generateKeyPem()))),
    );
    expect(all.every(({ ok }) => ok)).toBe(true);
  });

  it("says so while the token does not sign", async () => {
    const { dataDir, domain, authority } = await newFleet();
    expect(await authority.signingProblems()).toEqual([]);
    const store = await openKeyStore({ dataDir, fleetDomain: domain, place: { keys: uri } });
    await store.remove(authority.trust().roots[0]!.id, "root");
    expect((await authority.signingProblems()).map(({ code }) => code)).toEqual(["ISTHMUS_SIGNER_AWAY"]);
  });

  it("forgets a key that is removed", async () => {
    const { dataDir, domain } = await newFleet();
    const store = await openKeyStore({ dataDir, fleetDomain: domain, place: { keys: uri } });
    const made = await store.createSigner("2", "root");
    expect((await store.openSigner("2", "root")).spkiDer).toEqual(made.spkiDer);
    await store.remove("2", "root");
    await store.remove("2", "root");
    await expect(store.openSigner("2", "root")).rejects.toMatchObject({ code: "ISTHMUS_PKCS11" });
  });

  it.each<[string, Parameters<typeof uriWith>[0], string]>([
    ["another token", { token: "none" }, "no token is labelled none"],
    ["a library that is not there", { library: "/nowhere.so" }, "cannot be loaded"],
  ])("says what is wrong: %s", async (_what, change, message) => {
    const dataDir = await mkdtemp(join(folder, "data-"));
    const options = { fleetDomain, serverNames, clock: systemClock, place: { keys: uriWith(change) } };
    const failed = initAuthority(dataDir, options);
    await expect(failed).rejects.toMatchObject({ code: "ISTHMUS_PKCS11" });
    await expect(failed).rejects.toThrow(message);
    expect(await readdir(dataDir)).toEqual([]);
  });

  it("refuses a PIN file that others may read", async () => {
    const pin = join(folder, "open-pin");
    await writeFile(pin, "4711", { mode: 0o644 });
    const dataDir = await mkdtemp(join(folder, "data-"));
    const options = { fleetDomain, serverNames, clock: systemClock, place: { keys: uriWith({ pin }) } };
    await expect(initAuthority(dataDir, options)).rejects.toMatchObject({ code: "ISTHMUS_FILE_MODE" });
  });
});
