import { describe, expect, it } from "vitest";
import { acceptBundle, bundleStatement, type TrustBundle } from "./bundle.ts";
import { isBundleSigned } from "./bundle-signature.ts";
import { generateKeyPem, keyProviderFromPem, type KeyProvider } from "./key.ts";
import { makeRoot } from "./testing/fleet-pki.ts";

type Statement = Omit<TrustBundle, "signature">;

async function signed(signer: KeyProvider, change: Partial<Statement> = {}): Promise<TrustBundle> {
  const statement: Statement = {
    sequence: 7,
    rootsDer: [Uint8Array.of(1, 2, 3)],
    signerSpkiDer: signer.spkiDer,
    fleetDomain: "acme.mesh",
    revokedTrustDomains: [],
    ...change,
  };
  return { ...statement, signature: await signer.sign(Buffer.from(bundleStatement(statement))) };
}

const newSigner = () => keyProviderFromPem(generateKeyPem());

describe("a trust bundle", () => {
  it("says the same for equal content in any order", async () => {
    const signer = newSigner();
    const [a, b] = [Uint8Array.of(1), Uint8Array.of(2)];
    const one = await signed(signer, { rootsDer: [a, b], revokedTrustDomains: ["x.acme.mesh", "y.acme.mesh"] });
    const other = await signed(signer, { rootsDer: [b, a], revokedTrustDomains: ["y.acme.mesh", "x.acme.mesh"] });
    expect(bundleStatement(one)).toBe(bundleStatement(other));
  });

  it.each<[string, Partial<TrustBundle>]>([
    ["its sequence", { sequence: 8 }],
    ["a root more", { rootsDer: [Uint8Array.of(1, 2, 3), Uint8Array.of(4)] }],
    ["a root exchanged", { rootsDer: [Uint8Array.of(1, 2, 4)] }],
    ["its fleet", { fleetDomain: "evil.mesh" }],
    ["a revocation more", { revokedTrustDomains: ["east.acme.mesh"] }],
    ["its signature", { signature: new Uint8Array(70) }],
    ["its signer", { signerSpkiDer: newSigner().spkiDer }],
    ["an unreadable signer", { signerSpkiDer: Uint8Array.of(1) }],
  ])("changed in %s is not signed any more", async (_what, change) => {
    const bundle = await signed(newSigner());
    expect(isBundleSigned(bundle)).toBe(true);
    expect(isBundleSigned({ ...bundle, ...change })).toBe(false);
  });
});

describe("acceptance of a bundle", () => {
  const accept = async (change: Partial<Statement>, options: { by?: KeyProvider; valid?: boolean } = {}) => {
    const signer = newSigner();
    const held = {
      bundle: await signed(signer, { revokedTrustDomains: ["x.acme.mesh"] }),
      knownSigners: [signer.spkiDer],
    };
    const offered = await signed(options.by ?? signer, { revokedTrustDomains: ["x.acme.mesh"], ...change });
    const accepted = acceptBundle(held, offered, options.valid ?? isBundleSigned(offered));
    return accepted.ok ? accepted.value : accepted.error[0]?.message;
  };

  it("takes a newer one by the known signer", async () => {
    const root = await makeRoot();
    expect(await accept({ sequence: 8, rootsDer: [root.der] })).toBe("newer");
  });

  it("knows the one it holds again", async () => {
    expect(await accept({})).toBe("unchanged");
  });

  it.each<[string, Partial<Statement>, RegExp]>([
    ["an older one", { sequence: 6 }, /does not follow/],
    ["the same number with a root more", { rootsDer: [Uint8Array.of(9)] }, /does not follow/],
    ["an un-revocation under the same number", { revokedTrustDomains: [] }, /does not follow/],
    ["one without roots", { sequence: 8, rootsDer: [] }, /no root/],
    ["one of another fleet", { sequence: 8, fleetDomain: "evil.mesh" }, /of fleet evil.mesh/],
  ])("refuses %s", async (_what, change, reason) => {
    expect(await accept(change)).toMatch(reason);
  });

  it("refuses one by a signer it does not know, however well signed", async () => {
    expect(await accept({ sequence: 8 }, { by: newSigner() })).toMatch(/not known/);
  });

  it("refuses one whose signature does not verify", async () => {
    expect(await accept({ sequence: 8 }, { valid: false })).toMatch(/does not verify/);
  });
});
