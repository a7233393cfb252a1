// Against a stand-in that answers as Vault's API documentation says: the login by service account needs a cluster, and some
// answers a real one does not give on demand. vault-signer.feature.test.ts asks a real OpenBao or Vault.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { VaultPlace } from "./issuers-file.ts";
import { serveJson, type Asked, type JsonServer } from "./testing/json-server.ts";
import { vaultSigner } from "./vault-signer.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-vault-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("a stand-in for Vault", () => {
  let server: JsonServer;
  let answers: Record<string, { status: number; body?: unknown }>;
  const signPath = "/v1/fleet/root/sign-intermediate";

  beforeEach(async () => {
    answers = {
      [signPath]: { status: 200, body: { data: { certificate: "CERT\n", issuing_ca: "ROOT", ca_chain: ["ROOT"] } } },
    };
    server = await serveJson(({ path }: Asked) => answers[path] ?? { status: 404, body: { errors: ["no handler"] } });
    await writeFile(join(folder, "jwt"), "the.service.account", { mode: 0o600 });
  });
  afterEach(() => server.close());

  const place = (): VaultPlace => ({
    address: server.address,
    mount: "fleet",
    namespace: "mesh",
    kubernetes: { role: "isthmus", tokenFile: join(folder, "jwt") },
  });

  it("is logged in to by service account, and asked with the token that it gave", async () => {
    answers["/v1/auth/kubernetes/login"] = { status: 200, body: { auth: { client_token: "s.given" } } };
    expect(await vaultSigner(place()).sign("REQUEST")).toBe("CERT\nROOT\n");
    const [login, order] = server.asked;
    expect(login).toMatchObject({
      path: "/v1/auth/kubernetes/login",
      body: { role: "isthmus", jwt: "the.service.account" },
    });
    expect(login?.headers["x-vault-token"]).toBeUndefined();
    expect(order).toMatchObject({
      method: "POST",
      path: signPath,
      headers: { "x-vault-token": "s.given", "x-vault-namespace": "mesh" },
      body: { csr: "REQUEST", use_csr_values: true, max_path_length: 1, ttl: "2160h" },
    });
  });

  it.each<[string, { status: number; body?: unknown }, string]>([
    ["refuses the login", { status: 403, body: { errors: ["permission denied"] } }, "answered 403: permission denied"],
    ["gives no token", { status: 200, body: {} }, "the login gave no token"],
    ["answers a proxy's page", { status: 502, body: "<html>" }, "answered 502"],
  ])("that %s: the reason is told, the service account's token is not", async (_what, answer, message) => {
    answers["/v1/auth/kubernetes/login"] = answer;
    const failed = vaultSigner(place()).sign("REQUEST");
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.not.toThrow("the.service.account");
  });

  it("that signs without saying who it is is refused", async () => {
    answers["/v1/auth/kubernetes/login"] = { status: 200, body: { auth: { client_token: "s.given" } } };
    answers[signPath] = { status: 200, body: { data: { certificate: "CERT" } } };
    await expect(vaultSigner(place()).sign("REQUEST")).rejects.toThrow("no certificate with its issuer");
  });

  it("elsewhere than on this machine must be https", async () => {
    const elsewhere = { ...place(), address: "http://vault.example.com:8200" };
    await expect(vaultSigner(elsewhere).sign("REQUEST")).rejects.toMatchObject({ code: "ISTHMUS_ISSUERS_FILE" });
  });

  it("that is away is told as such", async () => {
    await server.close();
    await expect(vaultSigner(place()).sign("REQUEST")).rejects.toMatchObject({ code: "ISTHMUS_UPSTREAM" });
  });
});
