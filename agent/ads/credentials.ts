// TLS of the ADS port with a certificate that can be replaced: running streams stay, new connections get the new one. Clients
// prove themselves by token, so none is asked for a certificate.
//
// A proxy verifies this port by a file that it watches and never acknowledges. What it trusts shows in one way only: a
// handshake that it finishes (RFC 8446 4.4.4: the server hears of it only after the client has verified the certificate). So
// every connection is remembered with the root that was shown to it, and while two roots are about, a client that broke a
// handshake off under the new one is shown the older one for a moment: it never stays without its control plane.
import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type SecureContextOptions, type TLSSocket } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";

export interface ServerIdentity {
  /** Leaf first. */
  readonly chainPem: string;
  readonly keyPem: string;
  /** The root that the chain ends at, by any name that the caller uses. */
  readonly root: string;
}

export interface SwappableCredentials {
  readonly credentials: ServerCredentials;
  /**
   * From here on new connections are served with `identity`, and with `fallback` those of clients that could not verify it.
   * Throws, and changes nothing, on a pair that TLS cannot use.
   */
  replace(identity: ServerIdentity, fallback?: ServerIdentity): void;
  /** By which root the client at `address:port` verified this port; undefined: it has not, or is gone. */
  verifiedBy(peer: string): string | undefined;
  /** Breaks the connection of a client, which makes another. */
  disconnect(peer: string): void;
}

/** How long a client that could not verify the certificate is shown the older one: Envoy tries again within a second or two. */
const fallbackMs = 5_000;

interface Offer {
  readonly root: string;
  readonly context: SecureContext;
}

interface Connection {
  readonly socket: TLSSocket;
  readonly root: string;
  verified: boolean;
}

export function createSwappableCredentials(identity: ServerIdentity): SwappableCredentials {
  let offer = offerOf(identity);
  let fallback: Offer | undefined;
  const connections = new Map<string, Connection>();
  /** Address -> until when it is shown the older certificate. */
  const failing = new Map<string, number>();

  const choose = (address: string): Offer => {
    const untilMs = failing.get(address) ?? 0;
    if (fallback !== undefined && performance.now() < untilMs) return fallback;
    failing.delete(address);
    return offer;
  };
  const track = (socket: TLSSocket, root: string) => {
    const { remoteAddress = "", remotePort = 0 } = socket;
    const peer = `${remoteAddress}:${remotePort}`;
    const connection: Connection = { socket, root, verified: false };
    connections.set(peer, connection);
    socket.once("secure", () => (connection.verified = true));
    socket.once("close", () => {
      if (connections.get(peer) === connection) connections.delete(peer);
      if (!connection.verified && root === offer.root && fallback !== undefined) {
        failing.set(remoteAddress, performance.now() + fallbackMs);
      }
    });
  };
  /** Node calls it as a method of the connection's socket; a test keeps that true. */
  function onServerName(this: unknown, _name: string, done: (error: Error | null, context?: SecureContext) => void) {
    const socket = this as TLSSocket;
    const chosen = choose(socket.remoteAddress ?? "");
    track(socket, chosen.root);
    done(null, chosen.context);
  }
  const credentials = new PortCredentials(onServerName, contextOptions(identity));
  return {
    credentials,
    replace: (next, older) => {
      // gRPC would drop every connection from here on if the pair were unusable: let the caller hear of it instead
      const offered = offerOf(next);
      fallback = older === undefined ? undefined : offerOf(older);
      offer = offered;
      credentials.replace(contextOptions(next));
    },
    verifiedBy: (peer) => {
      const connection = connections.get(peer);
      return connection?.verified === true ? connection.root : undefined;
    },
    disconnect: (peer) => connections.get(peer)?.socket.destroy(),
  };
}

function offerOf(identity: ServerIdentity): Offer {
  return { root: identity.root, context: createSecureContext(contextOptions(identity)) };
}

function contextOptions({ chainPem, keyPem }: ServerIdentity): SecureContextOptions {
  // a resumed session (RFC 8446 2.2) shows no certificate, and so proves nothing of what the client trusts now
  return { cert: chainPem, key: keyPem, minVersion: "TLSv1.2", secureOptions: constants.SSL_OP_NO_TICKET };
}

type OnServerName = (this: unknown, name: string, done: (error: Error | null, context?: SecureContext) => void) => void;

class PortCredentials extends ServerCredentials {
  constructor(SNICallback: OnServerName, context: SecureContextOptions) {
    super({ requestCert: false, SNICallback }, context);
  }

  /** For clients that send no server name. */
  replace(context: SecureContextOptions): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}
