// TLS of the ADS port with a certificate that can be replaced: running streams stay, new connections get the new one.
// Called by whoever renews the agent's certificate. Clients prove themselves by token, so none is asked for a certificate.
import { createSecureContext } from "node:tls";
import { experimental, type ServerCredentials } from "@grpc/grpc-js";

export interface ServerIdentity {
  /** Leaf first. */
  readonly chainPem: string;
  readonly keyPem: string;
}

export interface SwappableCredentials {
  readonly credentials: ServerCredentials;
  /** From here on new connections are served with `identity`. Throws, and changes nothing, on a pair that TLS cannot use. */
  replace(identity: ServerIdentity): void;
}

type Listener = Parameters<experimental.CertificateProvider["addIdentityCertificateListener"]>[0];

export function createSwappableCredentials(identity: ServerIdentity): SwappableCredentials {
  const listeners = new Set<Listener>();
  let current = identity;
  const tell = (listener: Listener) =>
    listener({ certificate: Buffer.from(current.chainPem), privateKey: Buffer.from(current.keyPem) });
  const provider: experimental.CertificateProvider = {
    addCaCertificateListener: () => undefined,
    removeCaCertificateListener: () => undefined,
    addIdentityCertificateListener: (listener) => {
      listeners.add(listener);
      // gRPC adds its own watcher right after this call, and only then can take a context
      queueMicrotask(() => tell(listener));
    },
    removeIdentityCertificateListener: (listener) => void listeners.delete(listener),
  };
  return {
    credentials: createCredentials(provider),
    replace: (next) => {
      // gRPC would drop every connection from here on if the pair were unusable: let the caller hear of it instead
      createSecureContext({ cert: next.chainPem, key: next.keyPem });
      current = next;
      for (const listener of listeners) tell(listener);
    },
  };
}

/** The declared parameter order of the function is not that of the class it makes: identity comes first, roots second. */
function createCredentials(provider: experimental.CertificateProvider): ServerCredentials {
  const make = experimental.createCertificateProviderServerCredentials as (
    identity: experimental.CertificateProvider,
    roots: experimental.CertificateProvider | null,
    requireClientCertificate: boolean,
  ) => ServerCredentials;
  return make(provider, null, false);
}
