// The demo's application: a few services of one program, told apart by SHOP_SERVICE. It knows nothing of the mesh but
// the header in which its sidecar names the caller.
import { once } from "node:events";
import { flushCompileCache } from "node:module";
import { hostname } from "node:os";
import process from "node:process";
import { createGrpcEcho, createTcpEcho, createTlsGrpcEcho, echoWebSocket } from "./echo-servers.ts";
import { createShopServer, type ShopIdentity } from "./http-service.ts";

export interface ShopConfig extends ShopIdentity {
  /** Where it listens; undefined: on every address. */
  readonly address: string | undefined;
  readonly httpPort: number;
  /** 0: not served. */
  readonly tcpPort: number;
  readonly tcpBanner: boolean;
  readonly grpcPort: number;
  /** gRPC under TLS of its own. 0: not served. */
  readonly tlsPort: number;
  /** PEM */
  readonly tlsPair: { readonly key: string; readonly cert: string };
  /** How long requests are still answered after the order to stop: other nodes learn of it a moment later. */
  readonly drainMs: number;
}

export function readShopConfig(environment: Readonly<Record<string, string | undefined>>): ShopConfig {
  const port = (name: string, fallback: number) => Number(environment[name] ?? fallback);
  const upstreams = (environment["SHOP_UPSTREAMS"] ?? "").split(",").filter((entry) => entry.includes("="));
  return {
    service: environment["SHOP_SERVICE"] ?? "shop",
    cluster: environment["SHOP_CLUSTER"] ?? "unknown",
    pod: environment["POD_NAME"] ?? hostname(),
    upstreams: new Map(
      upstreams.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
    ),
    address: environment["SHOP_ADDRESS"],
    httpPort: port("SHOP_HTTP_PORT", 8080),
    tcpPort: port("SHOP_TCP_PORT", 0),
    tcpBanner: environment["SHOP_TCP_BANNER"] === "true",
    grpcPort: port("SHOP_GRPC_PORT", 0),
    tlsPort: port("SHOP_TLS_PORT", 0),
    tlsPair: { key: environment["SHOP_TLS_KEY"] ?? "", cert: environment["SHOP_TLS_CERT"] ?? "" },
    drainMs: port("SHOP_DRAIN_S", 3) * 1000,
  };
}

export async function runShop(config: ShopConfig, signal: AbortSignal): Promise<void> {
  const http = createShopServer(config, signal).on("upgrade", echoWebSocket);
  const at = (port: number) => (config.address === undefined ? { port } : { port, host: config.address });
  http.listen(at(config.httpPort));
  const { service, tcpBanner, tcpPort, grpcPort, tlsPort, tlsPair } = config;
  const tcp = tcpPort > 0 ? createTcpEcho(service, tcpBanner).listen(at(tcpPort)) : undefined;
  const grpc = grpcPort > 0 ? createGrpcEcho(service).listen(at(grpcPort)) : undefined;
  const tls = tlsPort > 0 ? createTlsGrpcEcho(service, tlsPair).listen(at(tlsPort)) : undefined;
  await once(http, "listening");
  process.stdout.write(`${config.service} serves HTTP on ${config.httpPort}\n`);
  if (!signal.aborted) await once(signal, "abort");
  await new Promise((resolve) => setTimeout(resolve, config.drainMs));
  tcp?.close();
  grpc?.close();
  tls?.close();
  http.close();
  http.closeAllConnections();
}

if (import.meta.main) {
  const stop = new AbortController();
  // demo and tests kill it, so what NODE_COMPILE_CACHE asks for would never be written
  setTimeout(() => flushCompileCache(), 1000).unref();
  process.once("SIGTERM", () => stop.abort());
  process.once("SIGINT", () => stop.abort());
  await runShop(readShopConfig(process.env), stop.signal);
  // TCP and gRPC connections that a client keeps open must not keep the pod
  process.exit(0);
}
