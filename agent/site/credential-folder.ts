// What a sidecar beside a workload starts from: a folder with a few files, made by the site's agent and read by
// `isthmus run`. The token is the only secret in it. The folder may be copied to the machine where the workload runs.
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { BoundInput } from "../ir/inputs.ts";

export const credentialFile = { token: "token", roots: "roots.pem", facts: "workload.json", hosts: "hosts" } as const;

/** `workload.json`: nothing secret. */
export interface CredentialFacts {
  readonly cluster: string;
  readonly fleetDomain: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  /** Where ADS is asked; its certificate is the account isthmus-agent of isthmus-system. */
  readonly agent: { readonly host: string; readonly port: number };
  readonly locality: { readonly region: string; readonly zone: string };
  /** Absent for the gateway. */
  readonly sidecar?: BoundInput;
  /** Pid of the `isthmus run` that registered the workload; absent: a manifest declares it. */
  readonly registeredBy?: number;
}

/** The gateway's folder in a site's data folder. */
export function gatewayFolder(dataDir: string): string {
  return join(dataDir, "gateway");
}

export function workloadFolder(
  dataDir: string,
  workload: { readonly namespace: string; readonly name: string },
): string {
  return join(dataDir, "workloads", workload.namespace, workload.name);
}

/** Where `isthmus run` registers a workload that no manifest declares: `<namespace>.<name>.yaml`. */
export function registrationFile(
  dataDir: string,
  workload: { readonly namespace: string; readonly name: string },
): string {
  return join(dataDir, "registered", `${workload.namespace}.${workload.name}.yaml`);
}

/** The pid of the `isthmus run` that registered a workload; when it is dead, the registration is over. */
export const pidAnnotation = "isthmus.dev/pid";

/** Undefined while the agent has not written the folder (yet). Refuses a token that anybody else can read. */
export async function readCredentialFolder(
  folder: string,
  owner = process.getuid?.(),
): Promise<CredentialFacts | undefined> {
  const tokenPath = join(folder, credentialFile.token);
  try {
    const { mode, uid } = await stat(tokenPath);
    const foreign = (mode & 0o077) !== 0;
    if (foreign || uid !== owner) {
      const found = foreign ? `has mode ${(mode & 0o777).toString(8)}` : `belongs to user ${uid}`;
      throw new UserError(
        "ISTHMUS_CREDENTIAL_MODE",
        `${tokenPath} ${found}; only this workload's user may have access`,
        {
          hint: `whoever reads it can act as this workload. Run as its owner (spec.user of the Workload), or: chmod 600 ${tokenPath}`,
        },
      );
    }
    return JSON.parse(await readFile(join(folder, credentialFile.facts), "utf8")) as CredentialFacts;
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new UserError("ISTHMUS_CREDENTIAL", `the credential in ${folder} cannot be read`, {
      cause,
      hint: "run as the user that owns it, or copy the whole folder again from the site's data folder",
    });
  }
}
