// The DNS server beside a workload: on the first address of its block, which no other workload has, so it need not ask who calls. It
// lives here and not in the agent, for a workload that runs on while its agent is away must be able to look names up too.
import { join } from "node:path";
import { credentialFile } from "../../agent/site/credential-folder.ts";
import { namesOf } from "../dns/names.ts";
import { startDns, type DnsAddress, type DnsOptions, type DnsServer } from "../dns/server.ts";
import { systemResolvers } from "../dns/upstream.ts";
import type { WorkloadCredential } from "./credential.ts";

/** Any user may bind it. Port 53, which a resolv.conf means, is bound too where that is allowed. */
export const DNS_PORT = 15_053;
const STANDARD_PORT = 53;
const resolvConfPath = "/etc/resolv.conf";
/** Not ours to take, or another program's: the workload is none the worse for it. */
const notToBeHad: ReadonlySet<string> = new Set(["EACCES", "EADDRINUSE", "EADDRNOTAVAIL"]);

export interface WorkloadDns {
  /** Empty: nowhere. */
  readonly at: readonly DnsAddress[];
  close(): Promise<void>;
}

export interface DnsWish {
  /** Names of others are asked for at the machine's resolvers. */
  readonly forward: boolean;
  /** On ::1 too, at any port that is free. */
  readonly overIpv6: boolean;
}

/** Listens where it can and says where it cannot. */
export async function startWorkloadDns(
  { sidecar, dir }: Pick<WorkloadCredential, "sidecar" | "dir">,
  { forward, overIpv6 }: DnsWish,
  say: (line: string) => void,
): Promise<WorkloadDns> {
  const address = sidecar.loopback.blockStart;
  const ask = forward ? systemResolvers({ resolvConfPath, own: new Set([address]) }) : undefined;
  const options = { names: namesOf(join(dir, credentialFile.hosts)), ask };
  const wanted = [
    ...(address === "" ? [] : [DNS_PORT, STANDARD_PORT].map((port) => ({ address, port }))),
    ...(overIpv6 ? [{ address: "::1", port: 0 }] : []),
  ];
  const servers: DnsServer[] = [];
  for (const at of wanted) {
    const server = await startIfFree(at, options);
    if (server !== undefined) servers.push(server);
    else if (at.port === DNS_PORT) say(`names are not answered: another program has ${address}:${DNS_PORT}`);
  }
  const close = async () => {
    await Promise.all(servers.map((server) => server.close()));
  };
  return { at: servers.map(({ at }) => at), close };
}

async function startIfFree(at: DnsAddress, options: DnsOptions): Promise<DnsServer | undefined> {
  try {
    return await startDns(at, options);
  } catch (error) {
    if (notToBeHad.has((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}
