import { describe, expect, it } from "vitest";
import { parseIssuers } from "./issuers-file.ts";

const vault = { address: "https://vault:8200", tokenFile: "/etc/isthmus/vault-token" };
const certManager = { namespace: "isthmus-hub", issuer: { name: "fleet-root", kind: "ClusterIssuer" } };

describe("issuers.json", () => {
  it.each<[string, unknown]>([
    ["nothing", {}],
    ["a vault with a token", { vault }],
    ["a vault with a login", { vault: { address: vault.address, kubernetes: { role: "isthmus" } } }],
    ["cert-manager", { certManager }],
    ["both", { vault, certManager }],
  ])("may name %s", (_what, file) => {
    expect(parseIssuers(JSON.stringify(file))).toEqual({ ok: true, value: file });
  });

  it.each<[unknown, string, string]>([
    [[], "file", "no JSON object"],
    [{ valut: vault }, "valut", "unknown"],
    [{ vault: "https://vault" }, "vault", "no object"],
    [{ vault: { tokenFile: "/x" } }, "vault.address", "missing"],
    [{ vault: { ...vault, address: 1 } }, "vault.address", "no text"],
    [{ vault: { ...vault, token: "s.secret" } }, "vault.token", "unknown"],
    [{ vault: { address: "https://v" } }, "vault", "exactly one of"],
    [{ vault: { ...vault, kubernetes: { role: "x" } } }, "vault", "exactly one of"],
    [{ vault: { address: "https://v", kubernetes: {} } }, "vault.kubernetes.role", "missing"],
    [{ certManager: { namespace: "x" } }, "certManager.issuer", "no object"],
    [{ certManager: { ...certManager, issuer: { name: "" } } }, "certManager.issuer.name", "no text"],
  ])("%j is refused with the field", (file, field, message) => {
    const parsed = parseIssuers(JSON.stringify(file));
    if (parsed.ok) throw new Error("it was taken");
    expect(parsed.error).toContainEqual(
      expect.objectContaining({ field, message: expect.stringContaining(message) as unknown }),
    );
  });

  it("that is no JSON is refused", () => {
    expect(parseIssuers("{")).toMatchObject({ ok: false, error: [{ field: "file", message: "no JSON" }] });
  });
});
