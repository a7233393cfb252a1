// Reads another fleet's bundle from its endpoint. TLS is verified as the profile says; nothing is followed elsewhere (a redirect
// could lead into our own network), and an endpoint that stalls or floods is given up.
import { request } from "node:https";
import type { PeerCertificate } from "node:tls";
import { UserError } from "../../shared/errors.ts";
import { certificatePem } from "../../shared/pki/pem.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import type { ForeignFleet } from "./foreign-fleet.ts";
import { parseSpiffeBundle, type SpiffeBundle } from "./spiffe-bundle.ts";

const timeoutMs = 10_000;
const maxBytes = 1024 * 1024;

export type FetchTarget = Pick<ForeignFleet, "fleetDomain" | "url" | "profile" | "endpointId" | "roots">;

/** `webCa`: PEM, in place of the system's authorities, for profile https_web. */
export async function fetchBundle(target: FetchTarget, webCa?: string): Promise<SpiffeBundle> {
  const text = await get(target, webCa).catch((cause: unknown) => {
    throw new UserError(
      "ISTHMUS_FEDERATION_UNREACHABLE",
      `the bundle of ${target.fleetDomain} cannot be read at ${target.url}`,
      {
        cause,
        hint: "check the address, the profile, and for https_spiffe the bundle it was begun with",
      },
    );
  });
  const bundle = parseSpiffeBundle(text);
  if (bundle.ok) return bundle.value;
  throw new UserError("ISTHMUS_FOREIGN_BUNDLE", `${target.url}: ${bundle.error[0]?.message ?? "unreadable"}`);
}

function tlsOf({ profile, endpointId, roots }: FetchTarget, webCa: string | undefined) {
  if (profile === "https_web") return webCa === undefined ? {} : { ca: webCa };
  const ca = roots.map((root) => certificatePem(Buffer.from(root, "base64"))).join("");
  // 5.2.2: the name is the SPIFFE ID, whatever the address is
  const checkServerIdentity = (_host: string, { raw }: PeerCertificate) => {
    const facts = parseCertificate(raw);
    const uris = facts.ok ? facts.value.names.uris : [];
    return uris.length === 1 && uris[0] === endpointId
      ? undefined
      : new Error(`the endpoint is not ${endpointId ?? ""}`);
  };
  return { ca, checkServerIdentity };
}

function get(target: FetchTarget, webCa: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { ...tlsOf(target, webCa), agent: false, timeout: timeoutMs, minVersion: "TLSv1.2" } as const;
    const outgoing = request(target.url, options, (response) => {
      if (response.statusCode !== 200) {
        outgoing.destroy(new Error(`it answered ${String(response.statusCode)}`));
        return;
      }
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > maxBytes) outgoing.destroy(new Error("it is too large"));
      });
      response.on("end", () => resolve(text));
      response.on("error", reject);
    });
    const overdue = setTimeout(() => outgoing.destroy(new Error("no answer in time")), timeoutMs);
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer in time")));
    outgoing.on("close", () => clearTimeout(overdue));
    outgoing.on("error", reject);
    outgoing.end();
  });
}
