// Against a real OpenBao or Vault where `bao` or `vault` is on PATH: server -dev-tls, PKI engine, TLS checked with its CA.
// vault-signer.test.ts has a stand-in for the rest.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { checkReceived } from "../../shared/pki/chain.ts";
import { createSigningPool } from "../../shared/pki/signing-pool.ts";
import { generateKeyPem, spkiOfKeyPem } from "../../shared/pki/key.ts";
import { parseChainPem } from "../../shared/pki/pem.ts";
import { clusterCaTemplate } from "../../shared/pki/template.ts";
import { factsOf } from "../../shared/pki/testing/fleet-pki.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { issuingCas } from "./issuing-ca.ts";
import type { VaultPlace } from "./issuers-file.ts";
import { createKeyStore } from "./key-store.ts";
import { callJson } from "./upstream-http.ts";
import { vaultSigner } from "./vault-signer.ts";

const fleetDomain = "acme.mesh" as FleetDomain;
const east = "east" as ClusterName;
const dayMs = 24 * 3_600_000;

const program = ["bao", "vault"].find((name) => {
  try {
    execFileSync(name, ["version"], { stdio: "pipe" });
    return true;
  } catch {
    return false;
  }
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-vault-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe.skipIf(program === undefined)(`a real ${program ?? "OpenBao or Vault is not on PATH"}`, () => {
  let child: ChildProcess;
  let place: VaultPlace;

  const ask = async (method: "GET" | "POST", path: string, body?: unknown) => {
    const url = new URL(`/v1/${path}`, place.address);
    const headers = { "x-vault-token": "root" };
    const answer = await callJson({ method, url, headers, body, caFile: place.caFile });
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer)}`);
    return answer.body;
  };

  beforeAll(async () => {
    const port = await (await ownGround()).port();
    const args = ["server", "-dev-tls", `-dev-tls-cert-dir=${folder}`, "-dev-root-token-id=root"];
    child = spawn(program ?? "", [...args, `-dev-listen-address=127.0.0.1:${port}`], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, HOME: folder },
    });
    await untilSaid(child, "server started");
    await writeFile(join(folder, "token"), "root\n", { mode: 0o400 });
    const caFile = join(folder, "vault-ca.pem");
    place = { address: `https://127.0.0.1:${port}`, caFile, tokenFile: join(folder, "token") };
    await ask("POST", "sys/mounts/pki", { type: "pki", config: { max_lease_ttl: "87600h" } });
    const root = { common_name: "acme root", key_type: "ec", key_bits: 256, ttl: "87600h", max_path_length: 2 };
    await ask("POST", "pki/root/generate/internal", root);
  }, 60_000);
  afterAll(async () => {
    child.kill("SIGKILL");
    await once(child, "exit");
  });

  async function source(at: VaultPlace) {
    const dataDir = await mkdtemp(join(folder, "data-"));
    const keys = await createKeyStore({ dataDir, fleetDomain, place: {} });
    const upstream = vaultSigner(at);
    const made = issuingCas({
      dataDir,
      keys,
      fleetDomain,
      now: Date.now,
      leastLifeMs: 21 * dayMs,
      pool: createSigningPool(),
      upstream,
    });
    return { dataDir, source: made };
  }

  it("signs an issuing CA below which a fleet lives", async () => {
    const { dataDir, source: vault } = await source(place);
    await vault.prepare({ id: "1", fleet: fleetDomain, nowMs: Date.now(), ttlMs: 365 * dayMs });
    const roots = parseChainPem(await readFile(join(dataDir, "roots", "1.pem"), "utf8"));
    const rootsDer = roots.ok ? roots.value : [];
    const issuing = parseChainPem(await readFile(join(dataDir, "roots", "1.chain.pem"), "utf8"));
    expect(factsOf((issuing.ok ? issuing.value : [])[0]!)).toMatchObject({
      ca: true,
      pathLength: 1,
      names: { uris: ["spiffe://acme.mesh"] },
    });
    const keyPem = generateKeyPem();
    const issuer = await vault.issuer("1", factsOf(rootsDer[0]!));
    const template = (validity: Parameters<typeof clusterCaTemplate>[2]) =>
      clusterCaTemplate(east, fleetDomain, validity);
    const order = { spkiDer: spkiOfKeyPem(keyPem), nowMs: Date.now(), ttlMs: 7 * dayMs, template };
    const issued = await issuer.issue(order);
    const chainDer = issued.ok ? issued.value : [];
    expect(checkReceived({ chainDer, rootsDer, spkiDer: spkiOfKeyPem(keyPem), template }).ok).toBe(true);
  });

  it.each<[string, Partial<VaultPlace>, string]>([
    ["a token that it does not know", { tokenFile: "other-token" }, "permission denied"],
    ["a mount that is not there", { mount: "nowhere" }, "404|no handler"],
    ["a life that it cannot read", { ttl: "for ever" }, "answered 400"],
  ])("says why it does not sign: %s", async (_what, change, message) => {
    await writeFile(join(folder, "other-token"), "s.nobody", { mode: 0o600 });
    const tokenFile = join(folder, change.tokenFile ?? "token");
    const { source: vault } = await source({ ...place, ...change, tokenFile });
    const failed = vault.prepare({ id: "1", fleet: fleetDomain, nowMs: Date.now(), ttlMs: dayMs });
    await expect(failed).rejects.toMatchObject({ code: "ISTHMUS_UPSTREAM" });
    await expect(failed).rejects.toThrow(new RegExp(message));
  });

  it("is not believed without its CA", async () => {
    const { address, tokenFile } = place;
    const { source: vault } = await source({ address, ...(tokenFile === undefined ? {} : { tokenFile }) });
    const failed = vault.prepare({ id: "1", fleet: fleetDomain, nowMs: Date.now(), ttlMs: dayMs });
    await expect(failed).rejects.toMatchObject({
      code: "ISTHMUS_UPSTREAM",
      message: expect.stringContaining("no answer") as unknown,
    });
  });
});

function untilSaid(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = "";
    const listen = (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes(text)) resolve();
    };
    child.stdout?.on("data", listen);
    child.stderr?.on("data", listen);
    child.once("exit", () => reject(new Error(`it ended: ${said.slice(-2000)}`)));
  });
}
