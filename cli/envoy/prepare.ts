// From a credential folder to an Envoy that can be started: its files are written into a private folder.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { Result } from "../../shared/result.ts";
import type { BoundProxy, ProxyFacts, ProxyFolders } from "../../agent/xds/bound-proxy.ts";
import type { EnvoyCommand, SocketAddress } from "./process.ts";

/** agent/xds/bound-proxy.ts; tests have an Envoy of their own. */
export type MakeProxy = (facts: ProxyFacts, folders: ProxyFolders) => Result<BoundProxy>;

export interface EnvoyPlan extends ProxyFolders {
  readonly program: string;
  readonly facts: ProxyFacts;
  readonly needed: readonly string[];
  readonly called?: readonly SocketAddress[];
  readonly title: string;
}

export async function prepareEnvoy(plan: EnvoyPlan, makeProxy: MakeProxy): Promise<EnvoyCommand> {
  const { program, facts, configDir, needed, called, title } = plan;
  const proxy = makeProxy(facts, plan);
  if (!proxy.ok) {
    const [problem] = proxy.error;
    throw new UserError(problem?.code ?? "ISTHMUS_CREDENTIAL", problem?.message ?? "the credential cannot be used");
  }
  const { files, arguments: args, environment, adminSocketPath } = proxy.value;
  for (const [name, text] of Object.entries(files)) await writeFile(join(configDir, name), text, { mode: 0o600 });
  return {
    program,
    arguments: args,
    environment,
    adminSocket: adminSocketPath,
    needed,
    ...(called && { called }),
    title,
  };
}
