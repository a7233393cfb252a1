// Two fleets with a root each, and a real sidecar that serves both: every caller is verified by its own fleet's roots alone, and no
// root vouches for a name of the other fleet. On loopback, without root.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ClusterName, FleetDomain, TrustDomain } from "../../shared/ids.ts";
import { certificatePem, chainPem } from "../../shared/pki/pem.ts";
import { clusterCaTemplate, rootTemplate, workloadTemplate } from "../../shared/pki/template.ts";
import { hourMs, makeCa, mint, validFor, type TestCa } from "../../shared/pki/testing/fleet-pki.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import type { Shown } from "../../shared/pki/testing/wrong-certificates.ts";
import { foreignAlpn, meshAlpn } from "./tls.ts";
import { BoundMember } from "./testing/bound-member.ts";
import { eventually, findEnvoy, start, type Running } from "./testing/envoy.ts";
import { answered, asCaller, greetingFor } from "./testing/tls-caller.ts";

const ground = await ownGround();
const CART = `${ground.net}.32.0`;
const [APPLICATION, MAIL] = [await ground.port(), await ground.port()];
const [acme, beta] = ["acme.mesh" as FleetDomain, "beta.mesh" as FleetDomain];
const east = "east" as ClusterName;

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";

interface TestFleet {
  readonly root: TestCa;
  /** Of its member `east`. */
  readonly ca: TestCa;
}

async function openFleet(fleet: FleetDomain): Promise<TestFleet> {
  const root = await makeCa(rootTemplate(fleet, "test", validFor(1000 * hourMs)));
  return { root, ca: await makeCa(clusterCaTemplate(east, fleet, validFor(100 * hourMs)), root) };
}

async function workloadOf(ca: TestCa, trustDomain: string, serviceAccount: string): Promise<Shown> {
  const name = { trustDomain: trustDomain as TrustDomain, namespace: "shop", serviceAccount };
  return { leaf: await mint(ca, workloadTemplate(name, validFor(hourMs))), issuers: [ca] };
}

/** What a thief of a root's key could make: a CA without constraints. */
function boundless(root: TestCa): Promise<TestCa> {
  return makeCa({ ...clusterCaTemplate(east, acme, validFor(hourMs)), constraints: undefined }, root);
}

const at = (alpn: string) => ({ host: CART, port: 8080, sni: "sidecar.sni.acme.mesh", alpn });
const [own, foreign] = [at(meshAlpn), at(foreignAlpn(beta))];

describe.skipIf(envoy === "")("a server that another fleet may call", () => {
  let dir = "";
  let [ours, theirs, third]: TestFleet[] = [];
  let cart: BoundMember;
  let [application, mail]: Running[] = [];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "isthmus-federation-"));
    [ours, theirs, third] = await Promise.all([
      openFleet(acme),
      openFleet(beta),
      openFleet("gamma.mesh" as FleetDomain),
    ]);
    const { leaf, issuers } = await workloadOf(ours.ca, "east.acme.mesh", "cart");
    const trust = {
      rootsPem: certificatePem(ours.root.der),
      chainPem: chainPem([leaf.der, ...issuers.map(({ der }) => der)]),
      keyPem: leaf.keyPem,
    };
    const bound = {
      applications: [
        { port: 8080, address: "127.0.0.1", applicationPort: APPLICATION },
        { port: 9000, address: "127.0.0.1", applicationPort: MAIL },
      ],
      inboundAddresses: [CART],
      httpProxy: { address: CART, port: 15001 },
      loopback: { rangeStart: `${ground.net}.0.0`, blockStart: CART },
      lowestPort: 1024,
    };
    cart = new BoundMember({ name: "cart", bound, dir, envoy, trust });
    const fleets = [{ fleetDomain: beta, rootsPem: certificatePem(theirs.root.der) }];
    cart.configure(`
foreignFleets: ${JSON.stringify(fleets)}
grants:
  - { name: web, from: [east/shop/web, east.beta.mesh/shop/web], to: shop/cart }
  - { name: mail, from: [east/shop/mail, east.beta.mesh/shop/mail], to: shop/cart, ports: [9000], http: [], tcp: true }
`);
    application = start([
      process.execPath,
      join(import.meta.dirname, "testing", "application.mjs"),
      String(APPLICATION),
      "cart",
    ]);
    mail = start([
      process.execPath,
      join(import.meta.dirname, "testing", "tcp-application.mjs"),
      String(MAIL),
      "220 hello",
    ]);
    await eventually("the applications listen", () =>
      Promise.resolve([application, mail].every((each) => each?.log().includes("listening")) || undefined),
    );
    await cart.startProxy();
  });

  afterAll(async () => {
    await Promise.all([cart.proxy, application, mail].filter((each) => each !== undefined).map((each) => each.stop()));
    rmSync(dir, { recursive: true, force: true });
  });

  it("answers a granted account of the other fleet, and sees who it is", async () => {
    const heard = await answered(await workloadOf(theirs!.ca, "east.beta.mesh", "web"), foreign);
    expect(heard.status).toBe(200);
    expect(heard.text).toContain("URI=spiffe://east.beta.mesh/ns/shop/sa/web");
  });

  it("goes on answering its own fleet, by its own roots", async () => {
    expect((await answered(await workloadOf(ours!.ca, "east.acme.mesh", "web"), own)).status).toBe(200);
  });

  it("refuses, with 403, an account of the other fleet that no TrafficTarget names", async () => {
    expect((await answered(await workloadOf(theirs!.ca, "east.beta.mesh", "probe"), foreign)).status).toBe(403);
  });

  it("is greeted by a server that speaks first only when it is granted, whichever its fleet", async () => {
    const greeting = async (ca: TestCa, domain: string, account: string, alpn: string) =>
      greetingFor(await workloadOf(ca, domain, account), { ...at(alpn), port: 9000 });
    const beta0 = (account: string) => greeting(theirs!.ca, "east.beta.mesh", account, foreignAlpn(beta));
    const acme0 = (account: string) => greeting(ours!.ca, "east.acme.mesh", account, meshAlpn);
    // owed, so waited for: see `answered`
    for (const owed of [beta0, acme0])
      expect(await eventually("a greeting", async () => (await owed("mail")) || undefined)).toContain("220 hello");
    for (const account of ["web", "probe"]) {
      expect(await beta0(account), `beta ${account}`).toBe("");
      expect(await acme0(account), `acme ${account}`).toBe("");
    }
    // the fleet's domain itself grants nobody of the other one
    expect(await greeting(theirs!.ca, "east.beta.mesh", "mail", meshAlpn)).toBe("");
  });

  it("takes neither fleet's certificate at the other one's door", async () => {
    expect((await asCaller(await workloadOf(theirs!.ca, "east.beta.mesh", "web"), own)).status).toBe("refused");
    expect((await asCaller(await workloadOf(ours!.ca, "east.acme.mesh", "web"), foreign)).status).toBe("refused");
  });

  it.each(["the other fleet's root", "its own root", "a third fleet's root"])(
    "does not believe %s about a name of another fleet, constraints or not",
    async (which) => {
      const roots = { "the other fleet's root": theirs, "its own root": ours, "a third fleet's root": third };
      const ca = await boundless(roots[which as keyof typeof roots]!.root);
      const names = which === "its own root" ? ["east.beta.mesh"] : ["east.acme.mesh"];
      if (which === "a third fleet's root") names.push("east.beta.mesh");
      for (const name of names) {
        const shown = await workloadOf(ca, name, "web");
        for (const door of [own, foreign])
          expect((await asCaller(shown, door)).status, `${name} ${door.alpn}`).toBe("refused");
      }
    },
  );
});
