// TLS listeners for tests of the join: one in the hub's place that counts what it is sent after the handshake, and a relay
// that decides per connection who answers.
import { createServer as createTcpServer, connect, type AddressInfo, type Server } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { generateKeyPem, keyProviderFromPem } from "../../../shared/pki/key.ts";
import { certificatePem } from "../../../shared/pki/pem.ts";
import { rootTemplate } from "../../../shared/pki/template.ts";
import { fleet, validFor } from "../../../shared/pki/testing/fleet-pki.ts";
import { buildCertificate } from "../../../shared/pki/x509-builder.ts";

export interface Listener {
  readonly address: string;
  close(): void;
}

export interface Impostor extends Listener {
  /** TCP connections that reached it. */
  connections(): number;
  /** Decrypted bytes that arrived in them, asked after all of them have ended. */
  receivedBytes(): Promise<number>;
}

/** Has a key of its own and a certificate that names the hub. */
export async function startImpostor(): Promise<Impostor> {
  const keyPem = generateKeyPem();
  const key = keyProviderFromPem(keyPem);
  const template = { ...rootTemplate(fleet, "evil", validFor(3_600_000)), uris: ["spiffe://acme.mesh/hub"] };
  const der = await buildCertificate(template, key.spkiDer, { key, certificate: undefined });
  let [connections, received] = [0, 0];
  const server = createTlsServer({ key: keyPem, cert: certificatePem(der), ALPNProtocols: ["h2"] }, (socket) => {
    socket.on("data", (bytes: Buffer) => (received += bytes.length));
    socket.on("error", () => undefined); // the agent hangs up: that is what is wanted
  });
  server.on("connection", () => (connections += 1));
  const address = await listen(server);
  return {
    address,
    connections: () => connections,
    receivedBytes: async () => {
      await new Promise((resolve) => server.close(resolve));
      return received;
    },
    close: () => server.close(),
  };
}

/** `target` names who answers the n-th connection. */
export async function startRelay(target: (connection: number) => string): Promise<Listener> {
  let connections = 0;
  const server = createTcpServer((client) => {
    const [host = "", port = ""] = target(connections++).split(":");
    const upstream = connect(Number(port), host);
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream])
      socket.on("error", () => [client, upstream].forEach((end) => end.destroy()));
  });
  const address = await listen(server);
  return { address, close: () => server.close() };
}

/** Accepts connections; `answer` undefined: never says a word. */
export async function startPlain(answer: string | undefined): Promise<Listener> {
  const server = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    if (answer !== undefined) socket.end(answer);
  });
  const address = await listen(server);
  return { address, close: () => server.close() };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
