// Two fleets with a hub each: the bundle endpoint as SPIFFE has it, and a federation that begins, follows, and never goes back.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBundleSigned } from "../../shared/pki/bundle-signature.ts";
import type { TrustBundle } from "../../shared/pki/bundle.ts";
import { joinAgent, makeDataDir, startTestHub, watch, type TestAgent, type TestHub } from "../testing/hub.ts";
import { fetchBundle } from "./fetch-bundle.ts";
import { afterReading, parseOrder, withFleets, type ForeignFleet } from "./foreign-fleet.ts";
import { formatSpiffeBundle, parseSpiffeBundle } from "./spiffe-bundle.ts";

let [acme, beta]: TestHub[] = [];
let folder: string;

/** A certificate of the web for 127.0.0.1, by its own authority. */
function webCertificate(): { readonly certFile: string; readonly keyFile: string; readonly pem: string } {
  const [certFile, keyFile] = [join(folder, "web.pem"), join(folder, "web.key")];
  const names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-subj", "/CN=web", "-days", "1"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", keyFile, "-out", certFile];
  execFileSync("openssl", ["req", "-x509", ...key, ...names], { stdio: "pipe" });
  return { certFile, keyFile, pem: readFileSync(certFile, "utf8") };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "isthmus-federation-"));
  [acme, beta] = await Promise.all([
    startTestHub(),
    makeDataDir("beta.mesh").then((data) => startTestHub({ data, bundleListen: "127.0.0.1:0" })),
  ]);
}, 180_000);

afterAll(async () => {
  await Promise.all([acme?.stop(), beta?.stop()]);
  rmSync(folder, { recursive: true });
});

const endpoint = () => `https://127.0.0.1:${beta!.bundlePort}/`;
const ownBundle = async (hub: TestHub) => JSON.stringify((await hub.operator("GET", "/v1/federation"))["bundle"]);
const begin = async () => ({
  ...{ fleetDomain: "beta.mesh", url: endpoint(), profile: "https_spiffe" },
  bundle: await ownBundle(beta!),
});

async function bundleOf(agent: TestAgent, fits: (bundle: TrustBundle) => boolean): Promise<TrustBundle> {
  const watching = watch(agent);
  const events = await watching.nextUntil((event) => event.event === "bundle" && fits(event.bundle));
  watching.cancel();
  const last = events.at(-1);
  if (last?.event !== "bundle") throw new Error("no bundle");
  return last.bundle;
}

describe("the SPIFFE bundle of a fleet", () => {
  it("is a JWK set of its roots with sequence and refresh hint, and reads back as what it was", async () => {
    const text = await ownBundle(beta!);
    expect(JSON.parse(text)).toMatchObject({
      keys: [{ kty: "EC", crv: "P-256", use: "x509-svid", x5c: [expect.any(String)] }],
      spiffe_sequence: 1,
      spiffe_refresh_hint: 300,
    });
    expect(JSON.parse(text)).not.toHaveProperty("keys.0.kid");
    const read = parseSpiffeBundle(text);
    if (!read.ok) throw new Error("refused");
    expect(formatSpiffeBundle(read.value.sequence, read.value.rootsDer, 300).trim()).toBe(
      JSON.stringify(JSON.parse(text), null, 2),
    );
  });

  it.each<[string, (bundle: { keys: Record<string, unknown>[] }) => unknown]>([
    ["no keys", () => ({ keys: [] })],
    ["no list", () => ({ keys: "all" })],
    ["a key that is not its certificate's", ({ keys }) => ({ keys: [{ ...keys[0], x: keys[0]?.["y"] }] })],
    ["two certificates in one key", ({ keys }) => ({ keys: [{ ...keys[0], x5c: [keys[0]?.["x5c"], "AAAA"].flat() }] })],
    ["no certificate", ({ keys }) => ({ keys: [{ ...keys[0], x5c: ["AAAA"] }] })],
    ["a sequence that is no number", ({ keys }) => ({ keys, spiffe_sequence: "1" })],
    ["a JWT key alone", ({ keys }) => ({ keys: [{ ...keys[0], use: "jwt-svid" }] })],
  ])("with %s is refused", async (_what, change) => {
    const bundle = JSON.parse(await ownBundle(beta!)) as { keys: Record<string, unknown>[] };
    expect(parseSpiffeBundle(JSON.stringify(change(bundle))).ok).toBe(false);
  });

  it("is served for the fleet and its members, by the hub's SVID, and for nobody else", async () => {
    await joinAgent(beta!, "east");
    const read = parseSpiffeBundle(await ownBundle(beta!));
    if (!read.ok) throw new Error("refused");
    const roots = read.value.rootsDer.map((der) => Buffer.from(der).toString("base64"));
    const target = {
      fleetDomain: "beta.mesh" as never,
      profile: "https_spiffe",
      endpointId: "spiffe://beta.mesh/hub",
      roots,
    } as const;
    for (const path of ["", "beta.mesh", "east.beta.mesh"])
      expect((await fetchBundle({ ...target, url: endpoint() + path })).rootsDer).toHaveLength(1);
    for (const path of ["west.beta.mesh", "acme.mesh", "fleet.json"])
      await expect(fetchBundle({ ...target, url: endpoint() + path })).rejects.toMatchObject({
        code: "ISTHMUS_FEDERATION_UNREACHABLE",
      });
    const other = { ...target, url: endpoint(), endpointId: "spiffe://beta.mesh/other" };
    await expect(fetchBundle(other)).rejects.toMatchObject({ code: "ISTHMUS_FEDERATION_UNREACHABLE" });
  });

  it("is served by a certificate of the web where one is given", async () => {
    const { certFile, keyFile, pem } = webCertificate();
    const data = await makeDataDir("gamma.mesh");
    const hub = await startTestHub({ data, bundleListen: "127.0.0.1:0", bundleCert: certFile, bundleKey: keyFile });
    const url = `https://localhost:${hub.bundlePort}/`;
    const target = { fleetDomain: "gamma.mesh" as never, profile: "https_web", roots: [], url } as const;
    expect((await fetchBundle(target, pem)).sequence).toBe(1);
    await expect(fetchBundle(target)).rejects.toMatchObject({ code: "ISTHMUS_FEDERATION_UNREACHABLE" });
    await hub.stop();
  });

  it("is not read through a redirect, nor without an end", async () => {
    const { certFile, keyFile, pem } = webCertificate();
    const answers: Server = createServer(
      { cert: readFileSync(certFile), key: readFileSync(keyFile) },
      (request, response) => {
        if (request.url === "/redirect") response.writeHead(302, { location: endpoint() }).end();
        else response.write("x".repeat(2 * 1024 * 1024));
      },
    );
    await new Promise<void>((resolve) => answers.listen(0, "127.0.0.1", resolve));
    const { port } = answers.address() as AddressInfo;
    for (const path of ["redirect", "flood"]) {
      const target = {
        fleetDomain: "beta.mesh" as never,
        profile: "https_web",
        roots: [],
        url: `https://localhost:${port}/${path}`,
      } as const;
      await expect(fetchBundle(target, pem)).rejects.toMatchObject({ code: "ISTHMUS_FEDERATION_UNREACHABLE" });
    }
    answers.closeAllConnections();
    answers.close();
  });
});

describe("a federation", () => {
  it("reaches agents in the signed bundle, each fleet with its own roots, and ends when an operator says so", async () => {
    const agent = await joinAgent(acme!, "west");
    const before = await bundleOf(agent, () => true);
    expect(await acme!.operator("POST", "/v1/federation", await begin())).toMatchObject({
      fleetDomain: "beta.mesh",
      roots: 1,
    });
    const during = await bundleOf(agent, ({ federated = [] }) => federated.length === 1);
    expect(during.rootsDer).toEqual(before.rootsDer);
    expect(during.federated?.[0]?.fleetDomain).toBe("beta.mesh");
    expect(during.federated?.[0]?.rootsDer).not.toEqual(during.rootsDer);
    expect(isBundleSigned(during)).toBe(true);
    expect(isBundleSigned({ ...during, federated: [] })).toBe(false);
    expect(during.sequence).toBeGreaterThan(before.sequence);
    await acme!.operator("POST", "/v1/federation/beta.mesh/remove");
    const after = await bundleOf(agent, ({ sequence }) => sequence > during.sequence);
    expect(after.federated ?? []).toEqual([]);
    const { entries } = await acme!.operator("GET", "/v1/audit");
    const actions = (entries as readonly { action: string }[]).map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(["federation.add", "federation.remove"]));
  });

  it.each<[string, object]>([
    ["itself", { fleetDomain: "acme.mesh" }],
    ["plain http", { url: "http://beta.example/" }],
    ["a profile that does not exist", { profile: "https_any" }],
    ["https_spiffe without a bundle to begin with", { bundle: undefined }],
    ["a bundle that is none", { bundle: "{}" }],
    ["an endpoint ID that is no SPIFFE ID", { endpointId: "hub" }],
  ])("with %s is refused", async (_what, change) => {
    await expect(acme!.operator("POST", "/v1/federation", { ...(await begin()), ...change })).rejects.toMatchObject({
      code: expect.stringMatching(/^ISTHMUS_(FEDERATION|FOREIGN_BUNDLE)$/) as string,
    });
  });
});

describe("what a federated fleet states later", () => {
  const order = parseOrder(
    { fleetDomain: "beta.mesh", url: "https://beta.example/", profile: "https_web" },
    "acme.mesh" as never,
  );
  if (!order.ok) throw new Error("refused");
  const held: ForeignFleet = { ...order.value, sequence: 7, refreshHintS: 300, roots: ["AAAA"] };
  const read = (sequence: number, root: string) =>
    afterReading(held, { sequence, refreshHintS: 300, rootsDer: [Buffer.from(root, "base64")] });

  it("is taken when it is newer, is nothing when it is the same, and is refused when it went back in time", () => {
    expect(read(8, "BBBB")).toMatchObject({ ok: true, value: { sequence: 8, roots: ["BBBB"] } });
    const same = read(7, "AAAA");
    expect(same.ok && same.value === held).toBe(true);
    expect(read(6, "AAAA").ok).toBe(false);
  });

  it("raises our own bundle's number only when its roots are others", () => {
    const file = { bundle: { sequence: 3 }, federation: [held] };
    expect(withFleets(file, [held])).toBe(file);
    expect(withFleets(file, [{ ...held, sequence: 8 }]).bundle.sequence).toBe(3);
    expect(withFleets(file, [{ ...held, sequence: 8, roots: ["BBBB"] }]).bundle.sequence).toBe(4);
    expect(withFleets(file, []).bundle.sequence).toBe(4);
  });
});
