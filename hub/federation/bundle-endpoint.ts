// The SPIFFE bundle endpoint: this fleet's roots for whoever wants to verify its workloads. Public by nature: it holds no secret
// and takes no input but a path. Served with the hub's own SVID (profile https_spiffe), or a certificate of the web (https_web).
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { Authority } from "../ca/authority.ts";

export interface EndpointConfig {
  /** `host:port` */
  readonly listen: string;
  /** A certificate and key of the web (PEM files), read again every minute; absent: the hub's own. */
  readonly web: { readonly certFile: string; readonly keyFile: string } | undefined;
}

export interface BundleEndpoint {
  readonly port: number;
  /** Task: follows the certificate; closes at the end. */
  run(signal: AbortSignal): Promise<void>;
}

export interface EndpointDeps {
  readonly authority: Authority;
  readonly ownBundle: () => string;
  /** `east`: a member whose trust domain may be asked for. */
  readonly isMember: (cluster: string) => boolean;
  readonly clock: Clock;
}

const followMs = 60_000;

export async function listenBundle(config: EndpointConfig, deps: EndpointDeps): Promise<BundleEndpoint> {
  const material = () => materialOf(config, deps.authority);
  const limits = {
    requestTimeout: 10_000,
    headersTimeout: 5_000,
    handshakeTimeout: 10_000,
    minVersion: "TLSv1.2",
  } as const;
  const server = createServer({ ...limits, ...(await material()) }, ({ method, url = "/" }, response) => {
    const known = method === "GET" && servesPath(url, deps);
    response.writeHead(known ? 200 : 404, { "content-type": "application/json" });
    response.end(known ? deps.ownBundle() : `{"error":"no such trust domain"}\n`);
  });
  const colon = config.listen.lastIndexOf(":");
  const host = config.listen.slice(0, colon).replace(/^\[|\]$/g, "");
  const listening = once(server, "listening");
  server.listen({ host, port: Number(config.listen.slice(colon + 1)) });
  await listening.catch((cause: unknown) => {
    throw new UserError("ISTHMUS_LISTEN", `cannot listen on ${config.listen}`, { cause, hint: "see --bundle-listen" });
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    run: async (signal) => {
      try {
        for (;;) {
          await deps.clock.sleep(followMs, signal);
          server.setSecureContext(await material());
        }
      } finally {
        await close(server);
      }
    },
  };
}

/** `/`: the fleet; `/<trust domain>`: one member's. All share the roots; name constraints keep members apart. */
function servesPath(url: string, { authority, isMember }: EndpointDeps): boolean {
  const name = url.split("?")[0]?.slice(1) ?? "";
  const { fleetDomain } = authority;
  if (name === "" || name === fleetDomain) return true;
  return name.endsWith(`.${fleetDomain}`) && isMember(name.slice(0, -fleetDomain.length - 1));
}

async function materialOf({ web }: EndpointConfig, authority: Authority): Promise<{ key: string; cert: string }> {
  if (web === undefined) {
    const { keyPem, chainPem } = authority.server();
    return { key: keyPem, cert: chainPem };
  }
  const [key, cert] = await Promise.all([readFile(web.keyFile, "utf8"), readFile(web.certFile, "utf8")]).catch(
    (cause: unknown) => {
      throw new UserError("ISTHMUS_DATA", "the endpoint's certificate or key cannot be read", {
        cause,
        hint: "see --bundle-cert and --bundle-key",
      });
    },
  );
  return { key, cert };
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}
