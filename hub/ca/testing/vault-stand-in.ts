// A stand-in for Vault's PKI engine that really signs, with openssl, and may be sealed for a while: what a fleet lives under in tests of
// more than one answer. Follows https://developer.hashicorp.com/vault/api-docs/secret/pki#sign-intermediate.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseChainPem, certificatePem } from "../../../shared/pki/pem.ts";
import { issuersFilePath } from "../issuers-file.ts";
import { serveJson } from "./json-server.ts";
import { opensslCa } from "./openssl-ca.ts";

export interface VaultStandIn {
  /** A sealed Vault answers 503 to everything. */
  seal(isSealed: boolean): void;
  /** Requests that it signed. */
  signed(): number;
  close(): Promise<void>;
}

/** Named in `issuers.json` of the data folder. `folder`: for its own files. */
export async function startVault(dataDir: string, folder: string): Promise<VaultStandIn> {
  const ca = opensslCa(folder);
  let [isSealed, signed] = [false, 0];
  const server = await serveJson(({ path, headers, body }) => {
    if (isSealed) return { status: 503, body: { errors: ["Vault is sealed"] } };
    if (headers["x-vault-token"] !== "s.fleet") return { status: 403, body: { errors: ["permission denied"] } };
    if (path !== "/v1/pki-fleet/root/sign-intermediate") return { status: 404, body: { errors: [] } };
    const [certificate, ...above] = certificatesOf(ca.signText(String(body["csr"]), { days: 90 }));
    signed += 1;
    return { status: 200, body: { data: { certificate, issuing_ca: above[0], ca_chain: above } } };
  });
  const tokenFile = join(folder, "vault-token");
  await writeFile(tokenFile, "s.fleet\n", { mode: 0o600 });
  const vault = { address: server.address, mount: "pki-fleet", tokenFile };
  await writeFile(issuersFilePath(dataDir), JSON.stringify({ vault }), { mode: 0o600 });
  return {
    seal: (sealed) => {
      isSealed = sealed;
    },
    signed: () => signed,
    close: () => server.close(),
  };
}

function certificatesOf(pem: string): readonly string[] {
  const chain = parseChainPem(pem);
  return chain.ok ? chain.value.map(certificatePem) : [];
}
