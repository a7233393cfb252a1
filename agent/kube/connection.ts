// Where the API server is and how to authenticate there. A kubeconfig (client certificates, exec plug-ins, OIDC) is read
// by @kubernetes/client-node, the only file that imports it, and only when a kubeconfig is used: the import costs 80 MB
// of resident memory (measured, 2.0.1), while a pod needs three files that Kubernetes mounts.
import { readFile } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import type { ConnectionOptions } from "node:tls";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";

export type TlsMaterial = Pick<
  ConnectionOptions,
  "ca" | "cert" | "key" | "pfx" | "passphrase" | "servername" | "rejectUnauthorized"
>;

export interface Connection {
  /** `https://host:port`, and a path where the API lives below one. */
  readonly server: URL;
  /** Read again for every new TLS session: authorities and client certificates rotate. */
  tls(): Promise<TlsMaterial>;
  /** Authorization and impersonation headers, for every request: tokens rotate. */
  headers(): Promise<Readonly<Record<string, string>>>;
  /** After a 401: what is cached is not believed any more. */
  forget(): void;
}

export type ConnectionSource =
  | { readonly kind: "in-cluster"; readonly directory?: string; readonly host?: string; readonly port?: string }
  /** Without `path`: KUBECONFIG, then ~/.kube/config, as kubectl does. */
  | { readonly kind: "kubeconfig"; readonly path?: string; readonly context?: string };

const mountedDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Kubernetes renews a projected token at 80 % of its life; half a minute is early enough and spares a read per request. */
const CREDENTIAL_TTL_MS = 30_000;

export function openConnection(source: ConnectionSource, clock: Clock): Promise<Connection> {
  return source.kind === "in-cluster" ? inCluster(source, clock) : fromKubeconfig(source, clock);
}

async function inCluster(source: ConnectionSource & { kind: "in-cluster" }, clock: Clock): Promise<Connection> {
  const directory = source.directory ?? mountedDirectory;
  const host = source.host ?? process.env["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = source.port ?? process.env["KUBERNETES_SERVICE_PORT"] ?? "443";
  if (host === "") {
    throw new UserError("ISTHMUS_KUBE_CONFIG", "not running in a pod: KUBERNETES_SERVICE_HOST is not set", {
      hint: "give a kubeconfig with --kubeconfig",
    });
  }
  const token = remember(CREDENTIAL_TTL_MS, clock, () => readFile(`${directory}/token`, "utf8"));
  await readable(token.get, `${directory}/token`);
  return {
    server: new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`),
    tls: async () => ({ ca: await readFile(`${directory}/ca.crt`) }),
    headers: async () => ({ authorization: `Bearer ${(await token.get()).trim()}` }),
    forget: token.forget,
  };
}

async function fromKubeconfig(source: ConnectionSource & { kind: "kubeconfig" }, clock: Clock): Promise<Connection> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    if (source.path === undefined) config.loadFromDefault();
    else config.loadFromFile(source.path);
  } catch (cause) {
    throw kubeconfigError(`cannot read the kubeconfig ${source.path ?? "of this user"}`, cause);
  }
  if (source.context !== undefined) {
    if (config.getContextObject(source.context) === null) {
      const known = config.getContexts().map((context) => context.name);
      throw kubeconfigError(`the kubeconfig has no context "${source.context}"; it has ${known.join(", ") || "none"}`);
    }
    config.setCurrentContext(source.context);
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw kubeconfigError("the kubeconfig's current context names no cluster");
  const server = serverUrl(cluster.server);
  if (cluster.proxyUrl !== undefined && cluster.proxyUrl !== "") {
    throw kubeconfigError("the kubeconfig asks for a proxy (proxy-url), which is not supported");
  }
  const material = remember(CREDENTIAL_TTL_MS, clock, async () => {
    const options: RequestOptions = { headers: {} };
    await config.applyToHTTPSOptions(options);
    return options;
  });
  return {
    server,
    tls: async () => tlsOf(await material.get()),
    headers: async () => headersOf(await material.get()),
    forget: material.forget,
  };
}

function serverUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:") {
    throw kubeconfigError(
      `the API server's address "${text}" is not an https URL: credentials would travel in the clear`,
    );
  }
  return url;
}

function kubeconfigError(message: string, cause?: unknown): UserError {
  return new UserError("ISTHMUS_KUBE_CONFIG", message, {
    cause,
    hint: "check with: kubectl config view --minify",
  });
}

async function readable(read: () => Promise<unknown>, what: string): Promise<void> {
  try {
    await read();
  } catch (cause) {
    throw new UserError("ISTHMUS_KUBE_CONFIG", `cannot read ${what}`, {
      cause,
      hint: "the pod needs its service account's token (automountServiceAccountToken)",
    });
  }
}

function tlsOf(options: RequestOptions): TlsMaterial {
  const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = options;
  const given = { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function headersOf(options: RequestOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (typeof value === "string") headers[name.toLowerCase()] = value;
  }
  if (typeof options.auth === "string")
    headers["authorization"] = `Basic ${Buffer.from(options.auth).toString("base64")}`;
  return headers;
}

interface Remembered<T> {
  readonly get: () => Promise<T>;
  readonly forget: () => void;
}

function remember<T>(ttlMs: number, clock: Clock, load: () => Promise<T>): Remembered<T> {
  let held: { readonly value: Promise<T>; readonly untilMs: number } | undefined;
  const forget = () => {
    held = undefined;
  };
  return {
    forget,
    get: () => {
      if (held !== undefined && clock.now() < held.untilMs) return held.value;
      const value = load();
      held = { value, untilMs: clock.now() + ttlMs };
      value.catch(forget); // the caller sees the failure; the next one tries again
      return value;
    },
  };
}
