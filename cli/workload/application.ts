// The application of a workload: found on PATH, started with the environment that leads its calls into the mesh.
import { access, constants, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { BoundInput } from "../../agent/ir/inputs.ts";
import type { DnsAddress } from "../dns/server.ts";
import { startChild, type Child } from "../child-process.ts";

/** As a shell says that a program was not found, or may not be run. */
export const notFoundStatus = 127;
export const notExecutableStatus = 126;

export class ApplicationError extends UserError {
  readonly exitStatus: number;

  constructor(message: string, exitStatus: number) {
    super("ISTHMUS_APPLICATION", message, { hint: "give the program and its arguments after --" });
    this.exitStatus = exitStatus;
  }
}

/** Looked up before anything else is started. */
export async function findApplication(name: string, env: NodeJS.ProcessEnv): Promise<string> {
  const folders = (env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const candidates = name.includes("/") ? [name] : folders.map((folder) => join(folder, name));
  let found = false;
  for (const path of candidates) {
    const isFile = await stat(path).then(
      (entry) => entry.isFile(),
      () => false,
    );
    if (!isFile) continue;
    found = true;
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return path;
  }
  if (found) throw new ApplicationError(`${name} is not executable`, notExecutableStatus);
  throw new ApplicationError(`there is no program ${name}`, notFoundStatus);
}

/**
 * Calls by HTTP go to the sidecar's proxy; loopback addresses are called as they are, for the sidecar listens there. Node's own
 * fetch looks at the variables only when it is told to. Where names are answered is said too, for a program with a resolver of its own. Pure.
 */
export function applicationEnv(
  env: NodeJS.ProcessEnv,
  { httpProxy, dns }: Pick<BoundInput, "httpProxy"> & { readonly dns: DnsAddress | undefined },
): NodeJS.ProcessEnv {
  const proxy = `http://${httpProxy.address}:${httpProxy.port}`;
  const before = env["NO_PROXY"] ?? env["no_proxy"] ?? "";
  const direct = [...(before === "" ? [] : [before]), "localhost", "127.0.0.1", "127.0.0.0/8", "::1"].join(",");
  return {
    NODE_USE_ENV_PROXY: "1",
    ...env,
    ...(dns === undefined ? {} : { ISTHMUS_DNS: `${dns.address}:${dns.port}` }),
    HTTP_PROXY: proxy,
    http_proxy: proxy,
    NO_PROXY: direct,
    no_proxy: direct,
  };
}

export function startApplication(command: readonly string[], env: NodeJS.ProcessEnv): Child {
  return startChild(command, { env, stdio: "inherit" });
}
