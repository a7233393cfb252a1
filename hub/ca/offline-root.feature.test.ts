// An offline root from the first command to the last, through the CLI; the operator is the real openssl.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { initCommand } from "../../cli/commands/init.ts";
import { rootCommand } from "../../cli/commands/root.ts";
import { systemClock } from "../../shared/clock.ts";
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { checkReceived } from "../../shared/pki/chain.ts";
import { generateKeyPem, spkiOfKeyPem } from "../../shared/pki/key.ts";
import { parseChainPem } from "../../shared/pki/pem.ts";
import { clusterCaTemplate } from "../../shared/pki/template.ts";
import { buildRequest } from "../../shared/pki/x509-builder.ts";
import type { TrustOverview } from "../api/trust-overview.ts";
import { startRotation } from "../rotation/rotation.ts";
import { joinAgent, startTestHub } from "../testing/hub.ts";
import { initAuthority, openAuthority, type Authority } from "./authority.ts";
import type { FleetFile } from "./fleet-file.ts";
import { opensslCa } from "./testing/openssl-ca.ts";

const fleetDomain = "acme.mesh" as FleetDomain;
const east = "east" as ClusterName;

let folder: string;
let data: string;
let said: string;
const streams = { stdout: (text: string) => void (said += text), stderr: (text: string) => void (said += text) };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-offline-"));
  data = join(folder, "data");
  said = "";
});
afterEach(() => rm(folder, { recursive: true }));

const init = (...args: readonly string[]) =>
  initCommand(streams).parseAsync([fleetDomain, "--data", data, "--advertise", "hub.acme.example:8443", ...args], {
    from: "user",
  });
const root = (...args: readonly string[]) =>
  rootCommand(streams).parseAsync([...args, "--data", data], { from: "user" });

/** Signs what the hub asks for, with the documented commands, and lays the chain beside. */
async function signedChain(choice = {}): Promise<string> {
  said = "";
  await root("request");
  const requestPem = /-----BEGIN[^]*-----END CERTIFICATE REQUEST-----/.exec(said)?.[0] ?? "";
  const chain = join(folder, "chain.pem");
  await writeFile(chain, opensslCa(folder).signText(requestPem, choice));
  return chain;
}

async function acceptedByMembers(authority: Authority): Promise<boolean> {
  const keyPem = generateKeyPem();
  const issued = await authority.issueClusterCa(east, await buildRequest(keyPem));
  const roots = parseChainPem(authority.rootsPem());
  return checkReceived({
    chainDer: issued.ok ? issued.value : [],
    rootsDer: roots.ok ? roots.value : [],
    spkiDer: spkiOfKeyPem(keyPem),
    template: (validity) => clusterCaTemplate(east, fleetDomain, validity),
  }).ok;
}

describe("a new fleet below an offline root", () => {
  it("waits for its root, is completed by the chain, and signs", async () => {
    await init("--root", "offline");
    expect(said).toContain("waits in");
    await expect(openAuthority(data, systemClock)).rejects.toMatchObject({ code: "ISTHMUS_ROOT_AWAITED" });
    await root("import", await signedChain());
    expect(said).toContain("the fleet acme.mesh is complete");
    const authority = await openAuthority(data, systemClock);
    expect(await acceptedByMembers(authority)).toBe(true);
    expect(authority.server().chainPem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  });

  it("goes on waiting after a chain that it could not live under", async () => {
    await init("--root", "offline");
    await expect(root("import", await signedChain({ pathLength: 0 }))).rejects.toMatchObject({
      code: "ISTHMUS_ISSUING_CHAIN",
    });
    await root("import", await signedChain());
    expect(await acceptedByMembers(await openAuthority(data, systemClock))).toBe(true);
  });

  it("takes its issuing CA signed anew below the same root, and goes on signing", async () => {
    await init("--root", "offline");
    const operator = opensslCa(folder);
    const requestPem = async () => {
      said = "";
      await root("request");
      return said;
    };
    await writeFile(join(folder, "chain.pem"), operator.signText(await requestPem()));
    await root("import", join(folder, "chain.pem"));
    const authority = await openAuthority(data, systemClock);
    const before = await readFile(join(data, "fleet.json"), "utf8");
    await authority.importChain(operator.signText(await requestPem()));
    expect(await acceptedByMembers(authority)).toBe(true);
    expect(await readFile(join(data, "fleet.json"), "utf8")).toBe(before);
  });
});

describe("a fleet that exists moves to an offline root", () => {
  const begin = async (authority: Authority) => {
    const prepared = await authority.prepareRoot("offline");
    await authority.changeTrust((trust): FleetFile => {
      const started = startRotation(trust, prepared, Date.now());
      if (!started.ok) throw new Error(JSON.stringify(started.error));
      return started.value;
    });
    return prepared.id;
  };

  it("by a rotation that waits until the chain is imported; nothing is trusted before", async () => {
    const authority = await initAuthority(data, {
      fleetDomain,
      serverNames: { dnsNames: [], ipAddresses: [] },
      clock: systemClock,
    });
    const id = await begin(authority);
    expect(await authority.rootProblem(id)).toContain("waits for its certificate");
    const chain = await readFile(await signedChain(), "utf8");
    expect(await authority.importChain(chain)).toEqual({ id });
    expect(await authority.rootProblem(id)).toBe("");
    expect(authority.bundle().rootsDer).toHaveLength(1);
    const again = await openAuthority(data, systemClock);
    expect(await again.rootProblem(id)).toBe("");
  });

  it("is told so where no root waits", async () => {
    const authority = await initAuthority(data, {
      fleetDomain,
      serverNames: { dnsNames: [], ipAddresses: [] },
      clock: systemClock,
    });
    await expect(authority.importChain("")).rejects.toMatchObject({ code: "ISTHMUS_ROOT_NONE_AWAITED" });
    await expect(root("request")).rejects.toMatchObject({ code: "ISTHMUS_ROOT_NONE_AWAITED" });
  });

  it("to an upstream that nobody has named: refused, and no key is left behind", async () => {
    const authority = await initAuthority(data, {
      fleetDomain,
      serverNames: { dnsNames: [], ipAddresses: [] },
      clock: systemClock,
    });
    await expect(authority.prepareRoot("vault")).rejects.toMatchObject({ code: "ISTHMUS_ISSUERS_FILE" });
    await expect(authority.prepareRoot("cert-manager")).rejects.toMatchObject({ code: "ISTHMUS_ISSUERS_FILE" });
    expect(authority.trust().roots).toHaveLength(1);
  });
});

describe("a hub that runs", () => {
  it("moves to an offline root without a restart: it waits for the chain, takes it, and members join below it", async () => {
    const hub = await startTestHub();
    try {
      data = hub.dataDir;
      await hub.operator("POST", "/v1/rotation", { to: "offline" });
      const trust = async () => (await hub.operator("GET", "/v1/trust")) as unknown as TrustOverview;
      const waiting = await trust();
      expect(waiting.rotation).toMatchObject({ step: "prepared", reversible: true });
      expect(JSON.stringify(waiting.rotation?.blockers)).toContain("waits for its certificate");
      await root("import", await signedChain());
      await until(async () => ["signing", "retiring", "revoked"].includes((await trust()).rotation?.step ?? ""));
      const { reply, keys, client } = await joinAgent(hub, "east");
      client.close();
      expect(reply.clusterCaChainDer).toHaveLength(2);
      const received = checkReceived({
        chainDer: reply.clusterCaChainDer,
        rootsDer: reply.bundle?.rootsDer ?? [],
        spkiDer: spkiOfKeyPem(keys.clusterCaKeyPem),
        template: (validity) => clusterCaTemplate(east, fleetDomain, validity),
      });
      expect(received.ok).toBe(true);
      const { entries } = (await hub.operator("GET", "/v1/audit")) as { entries: { action: string }[] };
      expect(entries.map(({ action }) => action)).toContain("root.import");
    } finally {
      await hub.stop();
    }
  });

  it("refuses a wrong chain with its reason, and goes on waiting", async () => {
    const hub = await startTestHub();
    try {
      data = hub.dataDir;
      await hub.operator("POST", "/v1/rotation", { to: "offline" });
      const chain = await signedChain({ days: 7 });
      await expect(root("import", chain)).rejects.toMatchObject({ code: "ISTHMUS_ISSUING_CHAIN" });
      const { rotation } = (await hub.operator("GET", "/v1/trust")) as unknown as TrustOverview;
      expect(rotation?.step).toBe("prepared");
    } finally {
      await hub.stop();
    }
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error("it did not come to that");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

it("a fleet of an upstream without issuers.json is not begun", async () => {
  await expect(init("--root", "vault")).rejects.toMatchObject({ code: "ISTHMUS_ISSUERS_FILE" });
  await expect(readFile(join(data, "fleet.json"))).rejects.toThrow("ENOENT");
});
