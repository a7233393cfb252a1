// The table of wrong certificates (shared/pki/testing/wrong-certificates.ts) shown to real Envoys that run exactly what translate
// makes: as a caller to a sidecar and to a gateway's own chain, and as a server to a calling sidecar. On loopback, without root.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createSecureContext, createServer, type SecureContext, type Server, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { certificatePem, chainPem } from "../../shared/pki/pem.ts";
import { workloadTemplate } from "../../shared/pki/template.ts";
import { hourMs, makeClusterCa, mint, validFor } from "../../shared/pki/testing/fleet-pki.ts";
import {
  foreignClaims,
  honest,
  stolenPki,
  wrongForms,
  type Shown,
  type StolenPki,
} from "../../shared/pki/testing/wrong-certificates.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { bootstrapConfig, envoyArguments } from "./bootstrap.ts";
import { healthSni } from "./names.ts";
import type { ProxyTrust } from "./proxy.ts";
import { meshAlpn } from "./tls.ts";
import { translate } from "./translate.ts";
import { BoundMember } from "./testing/bound-member.ts";
import { eventually, findEnvoy, start, type Running } from "./testing/envoy.ts";
import { fedFromFiles, writeResources } from "./testing/file-xds.ts";
import { answered, asCaller, materialOf, type TlsPlace } from "./testing/tls-caller.ts";
import { fleetDomain, readCase } from "./testing/mesh-case.ts";

const ground = await ownGround();
const { net } = ground;
const RANGE = `${net}.0.0`;
const [FRONT, CART, GATEWAY, FORGER] = [`${net}.16.0`, `${net}.32.0`, `${net}.48.1`, `${net}.64.1`] as const;
const [APPLICATION, GATEWAY_PORT] = [await ground.port(), await ground.port()];
/** `cart` of east may call `cart` of west, and `cart` of either may answer to `front`. */
const mesh = (forgerPort: number) => `
cluster: west
services:
  - name: forged
    scope: fleet
    vips: [${net}.0.1]
    ports:
      - port: 8080
        identities: [east/shop/cart, west/shop/cart]
        local: [{ address: ${FORGER}, port: ${forgerPort} }]
grants:
  - { name: cart, from: [east/shop/cart], to: shop/cart }
  - { name: forged, from: [west/shop/front], to: shop/cart }
`;

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
const west = "west" as ClusterName;

interface World {
  readonly pki: StolenPki;
  readonly front: BoundMember;
  readonly forger: Forger;
  stop(): Promise<void>;
}

/** A certificate of west that nothing is wrong with. */
async function trustOf(
  pki: StolenPki,
  ca: Awaited<ReturnType<typeof makeClusterCa>>,
  account: string,
): Promise<ProxyTrust> {
  const name = { trustDomain: "west.acme.mesh" as never, namespace: "shop", serviceAccount: account };
  const leaf = await mint(ca, workloadTemplate(name, validFor(hourMs)));
  return { rootsPem: certificatePem(pki.root.der), chainPem: chainPem([leaf.der, ca.der]), keyPem: leaf.keyPem };
}

async function openWorld(): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), "isthmus-impersonation-"));
  const pki = await stolenPki();
  const ca = await makeClusterCa(pki.root, west);
  const forger = await openForger();
  const member = async (name: string, block: string, applications: BoundMember["bound"]["applications"]) => {
    const bound = {
      applications,
      inboundAddresses: [block],
      httpProxy: { address: block, port: 15001 },
      loopback: { rangeStart: RANGE, blockStart: block },
      lowestPort: 1024,
    };
    const made = new BoundMember({ name, bound, dir, envoy, trust: await trustOf(pki, ca, name) });
    made.configure(mesh(forger.port));
    return made;
  };
  const front = await member("cart", CART, [{ port: 8080, address: "127.0.0.1", applicationPort: APPLICATION }]);
  const caller = await member("front", FRONT, []);
  const gateway = startGateway(join(dir, "gateway"), await trustOf(pki, ca, "gateway"));
  const script = join(import.meta.dirname, "testing", "application.mjs");
  const application = start([process.execPath, script, String(APPLICATION), "cart"]);
  const listens = eventually("the application listens", () =>
    Promise.resolve(application.log().includes("listening") || undefined),
  );
  await Promise.all([front.startProxy(), caller.startProxy(), gateway.ready, listens]);
  return {
    pki,
    front: caller,
    forger,
    stop: async () => {
      forger.close();
      const running = [front.proxy, caller.proxy, gateway.running, application].filter((each) => each !== undefined);
      await Promise.all(running.map((each) => each.stop()));
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function startGateway(dir: string, trust: ProxyTrust): { readonly running: Running; readonly ready: Promise<unknown> } {
  mkdirSync(dir);
  const bind = `{ host: ${GATEWAY}, port: ${GATEWAY_PORT} }`;
  const { ir, proxy } = readCase(`cluster: west\npeers: [east]\nproxy: { kind: gateway, bind: ${bind} }`);
  writeResources(dir, translate(ir, proxy, trust));
  const adminSocketPath = join(dir, "admin.sock");
  const bootstrap = bootstrapConfig({
    ...{ kind: "gateway", cluster: west, fleetDomain, probes: [], bound: { adminSocketPath } },
    ...{ trustDir: dir, tokenDir: dir, configDir: dir, agent: { host: "127.0.0.1", port: 15128 } },
  });
  const file = join(dir, "envoy.json");
  writeFileSync(file, JSON.stringify(fedFromFiles(bootstrap, dir)));
  const running = start([envoy, "-c", file, ...envoyArguments("gateway", "gateway", 1)]);
  const accepts = () =>
    new Promise<true | undefined>((resolve) => {
      const socket = connect({ host: GATEWAY, port: GATEWAY_PORT, rejectUnauthorized: false });
      socket.once("connect", () => resolve(true)).once("error", () => resolve(undefined));
      socket.once("close", () => resolve(undefined));
      setTimeout(() => socket.destroy(), 1000);
    });
  return { running, ready: eventually("the gateway listens", accepts) };
}

/** A server that shows whatever certificate it is given, and notes whether a client went on to talk to it. */
interface Forger {
  readonly port: number;
  show(context: SecureContext): void;
  /** Connections that sent a byte after the handshake since `show`. */
  spokenTo(): number;
  close(): void;
}

async function openForger(): Promise<Forger> {
  let shown: SecureContext | undefined;
  let spoken = 0;
  const server: Server = createServer(
    {
      ALPNProtocols: [meshAlpn],
      requestCert: true,
      rejectUnauthorized: false,
      SNICallback: (_name, done) => done(null, shown),
    },
    (socket: TLSSocket) => {
      socket.once("data", () => {
        spoken += 1;
        socket.destroy(); // nobody answers behind it, and nobody shall wait
      });
      socket.on("error", () => socket.destroy());
    },
  );
  server.on("tlsClientError", () => undefined); // that the handshake failed is seen in the counter
  await new Promise<void>((resolve) => server.listen(0, FORGER, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    show: (context) => ([shown, spoken] = [context, 0]),
    spokenTo: () => spoken,
    close: () => server.close(),
  };
}

const toSidecar = { host: CART, port: 8080, sni: "sidecar.sni.acme.mesh", alpn: meshAlpn };
const toGateway = { host: GATEWAY, port: GATEWAY_PORT, sni: healthSni(west, fleetDomain), alpn: "h2" };

async function asServer({ front, forger }: World, shown: Shown): Promise<"believed" | "refused"> {
  forger.show(createSecureContext(materialOf(shown)));
  // the sidecar's answer is the same either way: whether it spoke to the forger is what counts
  await front.byProxy("-m", "20", "http://forged.shop.svc.clusterset.local:8080/");
  return forger.spokenTo() > 0 ? "believed" : "refused";
}

interface Verdicts {
  readonly sidecar: number | "refused";
  readonly gateway: number | "refused";
  readonly client: "believed" | "refused";
}

const refused: Verdicts = { sidecar: "refused", gateway: "refused", client: "refused" };
const asOwn: Verdicts = { sidecar: 200, gateway: 200, client: "believed" };
/** Nothing of these claims somebody else's identity: the cluster hurts itself alone. All other wrong forms are refused. */
const taken: Readonly<Record<string, Partial<Verdicts>>> = {
  "two URIs, both its own": asOwn,
  "another account of its own": { sidecar: 403, gateway: 200 }, // no TrafficTarget speaks of it
  "own URI, somebody else's common name": asOwn,
  "a leaf that may sign": asOwn,
  "longer than its issuer": asOwn,
  "for servers only": { client: "believed" },
};

describe.skipIf(envoy === "")("a wrong certificate shown to real Envoys", () => {
  let world: World;

  beforeAll(async () => {
    world = await openWorld();
  });

  afterAll(() => (world as World | undefined)?.stop());

  /** Who must be refused is asked once; an answer or a word that is owed is waited for. */
  const verdicts = async (shown: Shown, wanted: Verdicts): Promise<Verdicts> => {
    const asked = async (place: TlsPlace, status: number | "refused") =>
      (await (status === "refused" ? asCaller : answered)(shown, place)).status;
    const client =
      wanted.client === "refused"
        ? await asServer(world, shown)
        : await eventually("a client that believes", async () => {
            const said = await asServer(world, shown);
            return said === "believed" ? said : undefined;
          });
    return { sidecar: await asked(toSidecar, wanted.sidecar), gateway: await asked(toGateway, wanted.gateway), client };
  };

  it("the control: the honest one is taken by all three", async () => {
    const shown = { leaf: await mint(world.pki.ca, honest), issuers: [world.pki.ca] };
    expect(await verdicts(shown, asOwn)).toEqual(asOwn);
  });

  it.each(foreignClaims)("$name: refused by sidecar, gateway and client", async ({ show }) => {
    expect(await verdicts(await show(world.pki), refused)).toEqual(refused);
  });

  it.each(wrongForms)("$name: taken only for what it really is", async ({ name, show }) => {
    const wanted = { ...refused, ...taken[name] };
    expect(await verdicts(await show(world.pki), wanted)).toEqual(wanted);
  });
});
