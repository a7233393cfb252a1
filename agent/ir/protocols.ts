// How a port is spoken: appProtocol, then OSM's rule on the port's name (`<protocol>` or `<protocol>-anything`), then http.
// Called for local services, remote records and inbound ports alike, so that both ends of a connection decide the same.
import type { AppProtocol } from "./types.ts";

const known: ReadonlyMap<string, AppProtocol> = new Map<string, AppProtocol>([
  ["http", "http"],
  ["http2", "http2"],
  ["h2c", "http2"],
  ["grpc", "grpc"],
  ["tcp", "tcp"],
  ["tcp-server-first", "tcp-server-first"],
  // the application brings its own TLS: passed through inside ours, never read
  ["tls", "tls"],
  ["https", "tls"],
  ["kubernetes.io/h2c", "http2"],
  ["kubernetes.io/ws", "http"],
  ["kubernetes.io/wss", "tls"],
]);

/** IANA names of protocols whose server greets first: an inspector that waits for the client would stall them (envoy-facts 8). */
const serverFirst: ReadonlySet<string> = new Set(["mysql", "smtp", "ftp", "ssh", "imap", "pop3", "nntp"]);

function fromPortName(name: string): AppProtocol | undefined {
  if (name.startsWith("tcp-server-first-")) return "tcp-server-first";
  return known.get(name) ?? known.get(name.split("-", 1)[0] ?? "");
}

export interface NamedPort {
  readonly name: string;
  readonly appProtocol: string;
}

/** An appProtocol that is not ours is somebody's byte stream: raw TCP, never guessed to be HTTP. */
export function protocolOf(port: NamedPort): AppProtocol {
  const written = port.appProtocol.toLowerCase();
  if (written !== "") return known.get(written) ?? (serverFirst.has(written) ? "tcp-server-first" : "tcp");
  return fromPortName(port.name.toLowerCase()) ?? "http";
}

/** What a member publishes: as written, else what the name says, else nothing. */
export function declaredProtocol(port: NamedPort): string {
  return port.appProtocol === "" ? (fromPortName(port.name.toLowerCase()) ?? "") : port.appProtocol;
}

/** Two protocols of one family are carried alike (HTTP connection manager, or bytes); across families they cannot meet. */
export function protocolFamily(protocol: AppProtocol): "http" | "tcp" {
  return protocol === "http" || protocol === "http2" || protocol === "grpc" ? "http" : "tcp";
}
