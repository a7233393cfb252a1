// Vault's PKI secrets engine (and OpenBao's, which has the same API) signs the hub's issuing CA: POST MOUNT/root/sign-intermediate.
// https://developer.hashicorp.com/vault/api-docs/secret/pki#sign-intermediate
import { UserError } from "../../shared/errors.ts";
import type { VaultPlace } from "./issuers-file.ts";
import type { UpstreamSigner } from "./issuing-ca.ts";
import { callJson, readUpstreamFile, upstreamUrl, type JsonAnswer } from "./upstream-http.ts";

const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const defaultTtl = "2160h";

export function vaultSigner(place: VaultPlace): UpstreamSigner {
  const { mount = "pki", ttl = defaultTtl } = place;
  return {
    sign: async (requestPem) => {
      // names from the request; the path length from here: the engine would otherwise allow none below
      const order = { csr: requestPem, format: "pem", use_csr_values: true, max_path_length: 1, ttl };
      const answer = await call(place, `${mount}/root/sign-intermediate`, order, await tokenOf(place));
      return chainOf((answer["data"] ?? {}) as Record<string, unknown>);
    },
  };
}

/** `ca_chain` begins with the certificate itself (OpenBao 2.7) or with its issuer (as documented), and may be absent. */
function chainOf({ certificate, issuing_ca: issuingCa, ca_chain: caChain }: Record<string, unknown>): string {
  const above = Array.isArray(caChain) && caChain.length > 0 ? (caChain as unknown[]) : [issuingCa];
  const chain = [certificate, ...above].filter((pem) => typeof pem === "string").map((pem) => pem.trim());
  const distinct = [...new Set(chain)];
  if (distinct.length < 2) throw refused("its answer holds no certificate with its issuer");
  return `${distinct.join("\n")}\n`;
}

/** Asked anew each time: tokens are short-lived, and signing is rare. */
async function tokenOf(place: VaultPlace): Promise<string> {
  const { tokenFile, kubernetes } = place;
  if (kubernetes === undefined) return readUpstreamFile(tokenFile ?? "");
  const jwt = await readUpstreamFile(kubernetes.tokenFile ?? serviceAccountToken);
  const path = `auth/${kubernetes.mount ?? "kubernetes"}/login`;
  const answer = await call(place, path, { role: kubernetes.role, jwt }, undefined);
  const { client_token: token } = (answer["auth"] ?? {}) as Record<string, unknown>;
  if (typeof token !== "string") throw refused("the login gave no token");
  return token;
}

async function call(
  place: VaultPlace,
  path: string,
  body: unknown,
  token: string | undefined,
): Promise<Readonly<Record<string, unknown>>> {
  const url = new URL(`/v1/${path}`, upstreamUrl(place.address));
  const headers = {
    "x-vault-request": "true",
    ...(token === undefined ? {} : { "x-vault-token": token }),
    ...(place.namespace === undefined ? {} : { "x-vault-namespace": place.namespace }),
  };
  const answer = await callJson({ method: "POST", url, headers, body, caFile: place.caFile });
  if (answer.status !== 200) throw refused(`${url.pathname} answered ${answer.status}${reasonOf(answer)}`);
  return answer.body;
}

/** Vault's errors quote no token. */
function reasonOf({ body }: JsonAnswer): string {
  const errors = Array.isArray(body["errors"]) ? body["errors"].filter((text) => typeof text === "string") : [];
  return errors.length === 0 ? "" : `: ${errors.join("; ").slice(0, 300)}`;
}

function refused(message: string): UserError {
  return new UserError("ISTHMUS_UPSTREAM", `vault does not sign: ${message}`, {
    hint: "check address, mount, login and the policy of the token (update on MOUNT/root/sign-intermediate)",
  });
}
