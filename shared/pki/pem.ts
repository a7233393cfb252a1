// PEM text <-> DER. Certificates are joined with a newline each: Envoy refused a bundle whose blocks ran into each other
// (Consul #10682). Pure text work; reads no certificate's meaning.
import { ok, rejected, type Result } from "../result.ts";

const block = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;

export function certificatePem(der: Uint8Array): string {
  return pemBlock("CERTIFICATE", der);
}

export function requestPem(der: Uint8Array): string {
  return pemBlock("CERTIFICATE REQUEST", der);
}

function pemBlock(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

export function chainPem(chainDer: readonly Uint8Array[]): string {
  return chainDer.map(certificatePem).join("");
}

/** All certificates of a PEM text, in order; none is a fault. */
export function parseChainPem(pem: string): Result<readonly Uint8Array[]> {
  const chain = [...pem.matchAll(block)].map((match) => new Uint8Array(Buffer.from(match[1] ?? "", "base64")));
  return chain.length > 0 ? ok(chain) : rejected("ISTHMUS_PEM", "no certificate found in the PEM text");
}
