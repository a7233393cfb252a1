// What `isthmus run` was told, checked once, every mistake named. Pure.
import { UserError } from "../../shared/errors.ts";
import type { Format } from "../output.ts";

/** As a person gave it. */
export interface RunOptions {
  readonly service?: string;
  readonly account?: string;
  readonly namespace: string;
  readonly name?: string;
  readonly port: readonly string[];
  readonly health?: string;
  readonly data: string;
  readonly credential?: string;
  readonly envoy?: string;
  readonly dnsForward?: boolean;
  readonly redirect?: boolean;
  readonly user?: string;
  readonly printSystemd?: boolean;
  readonly output: Format;
}

export interface WorkloadPort {
  /** Taken by the sidecar for the mesh. */
  readonly port: number;
  /** Where the application answers, on 127.0.0.1. */
  readonly applicationPort: number;
  /** Empty: HTTP. */
  readonly protocol: string;
}

export interface Workload {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  /** Empty: it only calls. */
  readonly service: string;
  readonly ports: readonly WorkloadPort[];
  readonly health: { readonly path: string } | "tcp" | undefined;
  /** What it sends over TCP is led to its sidecar by the kernel. */
  readonly redirect: boolean;
  /** Owner of its credential; empty: the one that runs this program. */
  readonly user: string;
}

export interface RunConfig {
  readonly workload: Workload;
  /** A site's data folder, in which this command may register the workload, or a credential folder that was brought here. */
  readonly from: { readonly kind: "data" | "credential"; readonly dir: string };
  readonly envoy: string | undefined;
  /** Its DNS asks for names of others at the machine's resolvers. */
  readonly dnsForward: boolean;
  readonly command: readonly string[];
}

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const protocols: ReadonlySet<string> = new Set(["http", "http2", "grpc", "tcp", "tcp-server-first", "tls"]);

export function parseRunOptions(options: RunOptions, command: readonly string[]): RunConfig {
  if (command.length === 0) {
    throw new UserError("ISTHMUS_USAGE", "there is no program to run", {
      hint: "isthmus run --service cart --account cart -- node app.js",
    });
  }
  const { credential, service = "", account } = options;
  const name = options.name ?? service;
  if (name === "") {
    throw new UserError("ISTHMUS_USAGE", "the workload has no name", { hint: "add --service cart, or --name cart" });
  }
  if (account === undefined) {
    throw new UserError("ISTHMUS_USAGE", "the workload has no service account: policy speaks of accounts", {
      hint: `add --account ${name}`,
    });
  }
  const workload = {
    namespace: checkName("--namespace", options.namespace),
    name: checkName("--name", name),
    serviceAccount: checkName("--account", account),
    service: service === "" ? "" : checkName("--service", service),
    ports: parsePorts(options.port),
  };
  const from = credential === undefined ? { kind: "data", dir: options.data } : { kind: "credential", dir: credential };
  return {
    workload: {
      ...workload,
      health: parseHealth(options.health, workload.ports),
      redirect: options.redirect === true,
      user: options.user ?? "",
    },
    from: from as RunConfig["from"],
    envoy: options.envoy,
    dnsForward: options.dnsForward === true,
    command,
  };
}

function checkName(flag: string, text: string): string {
  if (label.test(text)) return text;
  throw new UserError("ISTHMUS_OPTION", `${flag} ${text} is not a name`, {
    hint: "at most 63 of a-z, 0-9 and dashes, such as cart",
  });
}

function parsePorts(texts: readonly string[]): readonly WorkloadPort[] {
  const ports = texts.map(parsePort);
  const twice = ports.find(({ port }, at) => ports.findIndex((other) => other.port === port) < at);
  if (twice !== undefined) throw new UserError("ISTHMUS_OPTION", `--port ${twice.port} is given twice`);
  return ports;
}

/** `8080`, `8080=9090`, `5432=5433/tcp` */
function parsePort(text: string): WorkloadPort {
  const [, mesh = "", application = mesh, protocol = ""] =
    /^(\d{1,5})(?:=(\d{1,5}))?(?:\/([a-z0-9-]+))?$/.exec(text) ?? [];
  const [port, applicationPort] = [Number(mesh), Number(application)];
  const inRange = [port, applicationPort].every((number) => number >= 1 && number <= 65_535);
  if (mesh === "" || !inRange || (protocol !== "" && !protocols.has(protocol))) {
    throw new UserError(
      "ISTHMUS_OPTION",
      `--port ${text} is not PORT, PORT=APPLICATION-PORT or either with /PROTOCOL`,
      {
        hint: `such as 8080, 8080=9090 or 5432=5433/tcp; protocols: ${[...protocols].join(", ")}`,
      },
    );
  }
  return { port, applicationPort, protocol };
}

function parseHealth(text: string | undefined, ports: readonly WorkloadPort[]): Workload["health"] {
  if (text === undefined) return undefined;
  if (ports.length === 0) {
    throw new UserError("ISTHMUS_OPTION", "--health needs a --port to ask", { hint: `add --port 8080` });
  }
  if (text === "tcp") return "tcp";
  if (/^\/[\x21-\x7e]*$/.test(text)) return { path: text };
  throw new UserError("ISTHMUS_OPTION", `--health ${text} is neither a path nor tcp`, { hint: "--health /healthz" });
}
