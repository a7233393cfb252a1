// How the application of a workload calls out: by what it is told (HTTP proxy, names and addresses on loopback), or whatever it does,
// because the kernel leads it to its sidecar. One interface, so that running.ts does not ask which.
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { Redirect } from "../redirect/redirect.ts";
import { applicationEnv } from "./application.ts";
import type { WorkloadCredential } from "./credential.ts";
import { DNS_PORT, startWorkloadDns, type WorkloadDns } from "./dns.ts";
import type { RunConfig } from "./options.ts";

export interface NetworkPath {
  sidecarCommand(command: readonly string[]): readonly string[];
  applicationCommand(command: readonly string[]): readonly string[];
  /** Once the sidecar is ready and before the application starts. Resolves with where names are answered. */
  open(): Promise<WorkloadDns["at"]>;
  /** After that. */
  applicationEnv(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv;
  /** After both have ended. */
  close(): Promise<void>;
}

export type PathConfig = Pick<RunConfig, "workload" | "dnsForward">;

export async function choosePath(
  credential: WorkloadCredential,
  { workload, dnsForward }: PathConfig,
  say: (line: string) => void,
): Promise<NetworkPath> {
  if (!workload.redirect) return toldPath(credential, dnsForward, say);
  // loaded where it is used: there is one of this program beside every workload
  const { openRedirect } = await import("../redirect/redirect.ts");
  return redirectedPath(credential, await openRedirect(), say);
}

function toldPath(credential: WorkloadCredential, forward: boolean, say: (line: string) => void): NetworkPath {
  let dns: WorkloadDns | undefined;
  return {
    sidecarCommand: (command) => command,
    applicationCommand: (command) => command,
    applicationEnv: (env) => applicationEnv(env, { httpProxy: credential.sidecar.httpProxy, dns: dns?.at[0] }),
    open: async () => {
      dns = await startWorkloadDns(credential, { forward, overIpv6: false }, say);
      return dns.at;
    },
    close: async () => dns?.close(),
  };
}

/** The application's environment is left alone: a program that knows nothing of a proxy needs none. */
function redirectedPath(credential: WorkloadCredential, path: Redirect, say: (line: string) => void): NetworkPath {
  const { agent, dir } = credential;
  const { loopback, redirect, ...sidecar } = credential.sidecar;
  let dns: WorkloadDns | undefined;
  const open = async () => {
    if (redirect === undefined) throw new Error("a credential without a redirect was taken for one with it");
    // every question comes here, so those for others must be answered too
    dns = await startWorkloadDns(credential, { forward: true, overIpv6: true }, say);
    if (!dns.at.some(({ port }) => port === DNS_PORT)) {
      throw new UserError("ISTHMUS_PORT_TAKEN", `no DNS can listen on ${loopback.blockStart}:${DNS_PORT}`, {
        hint: "end the program that listens there: with --redirect every lookup goes to it",
      });
    }
    const portV6 = dns.at.find(({ address }) => address === "::1")?.port;
    const { blockStart } = loopback;
    await path.enforce({
      sidecar: { ...sidecar, blockStart, redirect },
      agent: { address: agent.host, uid: await ownerOf(dirname(dir)) },
      dns: { port: DNS_PORT, portV6 },
    });
    return dns.at;
  };
  return {
    sidecarCommand: (command) => path.sidecarCommand(command),
    applicationCommand: (command) => path.applicationCommand(command),
    applicationEnv: (env) => env,
    open,
    close: async () => {
      await path.close();
      await dns?.close();
    },
  };
}

/** The credential is the workload's user's; the folder that it lies in is the agent's. */
async function ownerOf(path: string): Promise<number> {
  return (await stat(path)).uid;
}
