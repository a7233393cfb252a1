// TLS towards the hub. Before the join nothing is known but the pin of the hub's key, so the key is checked before a byte of
// the secret is sent, and again on the connection that carries it. After the join: mutual TLS, trust in the fleet's roots,
// and the one name that the hub may have.
import { X509Certificate } from "node:crypto";
import { connect, createSecureContext, type ConnectionOptions, type PeerCertificate, type TLSSocket } from "node:tls";
import { ChannelCredentials } from "@grpc/grpc-js";
import { UserError } from "../../shared/errors.ts";
import { hubSpiffeId, type FleetDomain } from "../../shared/ids.ts";
import { spkiPin } from "../../shared/pki/key.ts";
import { certificatePem, chainPem } from "../../shared/pki/pem.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import type { JoinedIdentity } from "../identity/identity-state.ts";

const minVersion = "TLSv1.3";
/** Sent as SNI, because an IP address may not be: the hub has one certificate for every name. */
export const hubServerName = "isthmus-hub";

export interface HubAddress {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, an IPv6 host in brackets: checked when the token was parsed. */
export function splitHubAddress(address: string): HubAddress {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(address.slice(at + 1)) };
}

/**
 * Connects, compares the pin, closes; sends nothing but the TLS handshake. The certificate it returns is the trust anchor of
 * the connection that follows: any other is refused there.
 */
export async function probeHub(address: string, pin: string, timeoutMs: number): Promise<X509Certificate> {
  const { host, port } = splitHubAddress(address);
  const options: ConnectionOptions = { host, port, servername: hubServerName, ALPNProtocols: ["h2"], minVersion };
  const socket = connect({ ...options, rejectUnauthorized: false });
  try {
    await handshake(socket, timeoutMs);
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) throw new Error("the hub showed no certificate");
    const mismatch = checkPin(certificate, pin);
    if (mismatch !== undefined) throw mismatch;
    return certificate;
  } catch (error) {
    throw error instanceof UserError ? error : hubUnreachable(address, error);
  } finally {
    socket.destroy();
  }
}

function handshake(socket: TLSSocket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.setTimeout(timeoutMs, () => reject(new Error(`no answer within ${timeoutMs} ms`)));
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the connection was closed during the TLS handshake")));
  });
}

function checkPin(certificate: X509Certificate, pin: string): UserError | undefined {
  const found = spkiPin(certificate.publicKey.export({ type: "spki", format: "der" }));
  if (found === pin) return undefined;
  return new UserError(
    "ISTHMUS_HUB_PIN",
    `the hub's key is ${found}, but the token says ${pin}; nothing was sent to it`,
    {
      hint: "somebody answers in the hub's place, or the token is of another hub: make a new token on the right one",
    },
  );
}

const causes: Readonly<Record<string, string>> = {
  ECONNREFUSED: "no hub listens there: check that it runs, and the address in the token",
  ENOTFOUND: "the name does not resolve from here: check the cluster's DNS, or make the token with --hub IP:PORT",
  EAI_AGAIN: "the name does not resolve from here now: check the cluster's DNS",
  EHOSTUNREACH: "there is no route: check the network between this cluster and the hub",
  ENETUNREACH: "there is no route: check the network between this cluster and the hub",
  ECONNRESET: "the connection was reset: a proxy or firewall may be in between",
};

export function hubUnreachable(address: string, cause: unknown): UserError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const text = cause instanceof Error ? cause.message : "no connection";
  return new UserError("ISTHMUS_HUB_UNREACHABLE", `cannot reach the hub at ${address}: ${text}`, {
    cause,
    hint: causes[code] ?? "check the address, the network between, and that a TLS proxy does not stand in the way",
  });
}

/** For Join: the probed certificate is the only trust anchor, and its pin is checked once more. */
export function pinnedCredentials(probed: X509Certificate, pin: string): ChannelCredentials {
  const context = createSecureContext({
    ca: certificatePem(probed.raw),
    // the anchor is the hub's leaf itself: its root is not known before the join
    allowPartialTrustChain: true,
    minVersion,
  });
  const checkServerIdentity = (_host: string, { raw }: PeerCertificate) => checkPin(new X509Certificate(raw), pin);
  return ChannelCredentials.createFromSecureContext(context, { checkServerIdentity });
}

/** For everything after the join. */
export function memberCredentials(state: JoinedIdentity): ChannelCredentials {
  const context = createSecureContext({
    ca: chainPem(state.bundle.rootsDer),
    key: state.agentKeyPem,
    cert: state.agentChainPem,
    minVersion,
  });
  const checkServerIdentity = (_host: string, { raw }: PeerCertificate) => checkHubName(raw, state.fleetDomain);
  return ChannelCredentials.createFromSecureContext(context, { checkServerIdentity });
}

/** Exactly the hub's SPIFFE ID: every agent of the fleet has a certificate of the same roots. */
function checkHubName(der: Uint8Array, fleet: FleetDomain): Error | undefined {
  const facts = parseCertificate(der);
  const uris = facts.ok ? facts.value.names.uris : [];
  if (uris.length === 1 && uris[0] === hubSpiffeId(fleet)) return undefined;
  return new Error(`the server is not the hub of ${fleet}: its SPIFFE ID is ${uris.join(", ") || "missing"}`);
}
