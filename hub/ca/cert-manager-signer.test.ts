// Against a stand-in for the Kubernetes API that treats CertificateRequests as cert-manager's documentation says, with the real
// openssl as its issuer. cert-manager itself was not at hand: docs/issuers.md says so.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../../shared/clock.ts";
import type { FleetDomain } from "../../shared/ids.ts";
import { certManagerSigner } from "./cert-manager-signer.ts";
import type { CertManagerPlace } from "./issuers-file.ts";
import { issuingCas } from "./issuing-ca.ts";
import { createKeyStore } from "./key-store.ts";
import { serveJson, type Asked, type JsonServer } from "./testing/json-server.ts";
import { opensslCa, type OpensslCa } from "./testing/openssl-ca.ts";
import { certificatePem, parseChainPem } from "../../shared/pki/pem.ts";
import { createSigningPool } from "../../shared/pki/signing-pool.ts";

const fleetDomain = "acme.mesh" as FleetDomain;
const dayMs = 24 * 3_600_000;
const path = "/apis/cert-manager.io/v1/namespaces/isthmus-hub/certificaterequests";

type Status = Record<string, unknown>;
interface StoredRequest {
  readonly metadata: { readonly name: string };
  readonly spec: Record<string, unknown>;
  status?: Status;
}

let folder: string;
let server: JsonServer;
let stored: Map<string, StoredRequest>;
/** What cert-manager's controller makes of a request at the n-th look at it. */
let controller: (request: StoredRequest, look: number) => Status | undefined;
let looks: number;
let issuer: OpensslCa;
let nowMs: number;
const clock: Clock = {
  now: () => nowMs,
  sleep: (ms) => {
    nowMs += ms;
    return Promise.resolve();
  },
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-cert-manager-"));
  issuer = opensslCa(folder);
  nowMs = Date.now() + 60_000; // what openssl signs during a test begins before that
  stored = new Map();
  looks = 0;
  controller = (request) => signed(request);
  server = await serveJson(answer);
  await writeFile(join(folder, "token"), "service-account\n", { mode: 0o600 });
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const condition = (type: string, status: string, reason: string, message = "") => [{ type, status, reason, message }];

/** cert-manager states no path length: its CSR is asked for a CA, and nothing more. */
function signed({ spec }: StoredRequest, choice = { basicConstraints: "critical,CA:TRUE" }): Status {
  const request = Buffer.from(String(spec["request"]), "base64").toString("utf8");
  const chain = parseChainPem(issuer.signText(request, choice));
  const [certificate = "", ca = ""] = (chain.ok ? chain.value : []).map(certificatePem);
  const encoded = (pem: string) => Buffer.from(pem).toString("base64");
  return { conditions: condition("Ready", "True", "Issued"), certificate: encoded(certificate), ca: encoded(ca) };
}

function answer({ method, path: asked, body }: Asked): { status: number; body?: unknown } {
  if (method === "POST" && asked === path) {
    const object = body as unknown as StoredRequest;
    if (stored.has(object.metadata.name)) return { status: 409, body: { message: "already exists" } };
    stored.set(object.metadata.name, object);
    return { status: 201, body: object };
  }
  const name = asked.slice(path.length + 1);
  const object = stored.get(name);
  if (object === undefined) return { status: 404, body: { message: "not found" } };
  if (method === "DELETE") stored.delete(name);
  else looks += 1;
  const status = object.status ?? controller(object, looks);
  return { status: 200, body: status === undefined ? object : { ...object, status } };
}

function place(change: Partial<CertManagerPlace> = {}): CertManagerPlace {
  const tokenFile = join(folder, "token");
  return { namespace: "isthmus-hub", issuer: { name: "fleet-root" }, server: server.address, tokenFile, ...change };
}

const signer = (change?: Partial<CertManagerPlace>) =>
  certManagerSigner({ place: place(change), clock, environment: {} });

describe("cert-manager", () => {
  it("signs an issuing CA that carries the fleet, and its object is taken away again", async () => {
    controller = (request, look) =>
      look < 3 ? { conditions: condition("Ready", "False", "Pending") } : signed(request);
    const keys = await createKeyStore({ dataDir: folder, fleetDomain, place: {} });
    const upstream = signer();
    const source = issuingCas({
      dataDir: folder,
      keys,
      fleetDomain,
      now: () => nowMs,
      leastLifeMs: 21 * dayMs,
      pool: createSigningPool(),
      upstream,
    });
    await source.prepare({ id: "1", fleet: fleetDomain, nowMs, ttlMs: dayMs });
    expect(looks).toBe(3);
    expect(stored.size).toBe(0);
    const [made] = server.asked;
    expect(made?.headers.authorization).toBe("Bearer service-account");
    expect(made?.body).toMatchObject({
      apiVersion: "cert-manager.io/v1",
      kind: "CertificateRequest",
      spec: {
        isCA: true,
        duration: "2160h",
        usages: ["cert sign", "crl sign"],
        issuerRef: { name: "fleet-root", kind: "Issuer", group: "cert-manager.io" },
      },
    });
  });

  it("whose answer was lost is asked for the same object again", async () => {
    controller = () => undefined;
    await expect(signer().sign("REQUEST")).rejects.toThrow("not ready after a minute");
    expect(stored.size).toBe(1);
    controller = () => ({ conditions: condition("Ready", "True", "Issued"), certificate: "QQ==", ca: "Qg==" });
    nowMs -= 60_000;
    expect(await signer().sign("REQUEST")).toBe("A\nB\n");
  });

  it.each<[string, Status, string]>([
    [
      "denied by an approver",
      { conditions: condition("Denied", "True", "Policy", "no CAs here") },
      "Policy: no CAs here",
    ],
    [
      "invalid",
      { conditions: condition("InvalidRequest", "True", "BadCSR", "cannot decode") },
      "BadCSR: cannot decode",
    ],
    [
      "failed by its issuer",
      { conditions: condition("Ready", "False", "Failed", "issuer is gone") },
      "Failed: issuer is gone",
    ],
    ["ready without a certificate", { conditions: condition("Ready", "True", "Issued") }, "holds no certificate"],
    [
      "of an issuer without a root",
      { conditions: condition("Ready", "True", "Issued"), certificate: "QQ==" },
      "status.ca is empty",
    ],
  ])("a request that is %s: the reason is told at once", async (_what, status, message) => {
    controller = () => status;
    await expect(signer().sign("REQUEST")).rejects.toThrow(message);
    expect(looks).toBe(1);
  });

  it("that may not be asked says so", async () => {
    const elsewhere = signer({ namespace: "other" });
    await expect(elsewhere.sign("REQUEST")).rejects.toMatchObject({
      code: "ISTHMUS_UPSTREAM",
      message: expect.stringContaining("404") as unknown,
    });
  });

  it("outside of a cluster needs a server's address", async () => {
    const { namespace, issuer: ref } = place();
    const outside = certManagerSigner({ place: { namespace, issuer: ref }, clock, environment: {} });
    await expect(outside.sign("REQUEST")).rejects.toMatchObject({ code: "ISTHMUS_ISSUERS_FILE" });
  });
});
