// Waits for the credential folder that the site's agent writes for a workload, and looks whether it is the right one.
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { BoundInput } from "../../agent/ir/inputs.ts";
import { credentialFile, readCredentialFolder, type CredentialFacts } from "../../agent/site/credential-folder.ts";
import type { RunConfig, Workload } from "./options.ts";

const WAIT_MS = 10_000;
const CHECK_MS = 25;

export interface WorkloadCredential extends CredentialFacts {
  readonly dir: string;
  readonly sidecar: BoundInput;
}

export interface Wanted extends Pick<RunConfig, "workload" | "from"> {
  readonly owner: number | undefined;
  /** Pid under which it was registered; undefined: it was not. */
  readonly registeredBy: number | undefined;
}

/**
 * The credential, as soon as it is there and names the wanted account. That of a registration must be of this one: the folder that a
 * killed process has left is about to be removed, and a sidecar that watches a removed folder never reads another token.
 */
export async function waitForCredential(
  dir: string,
  { workload, from, owner, registeredBy }: Wanted,
  clock: Clock,
  signal: AbortSignal,
): Promise<WorkloadCredential> {
  const deadline = clock.now() + WAIT_MS;
  for (;;) {
    const facts = await readCredentialFolder(dir, owner);
    const objection = facts === undefined ? "is not there" : objectionTo(facts, workload, registeredBy);
    if (facts?.sidecar !== undefined && objection === undefined) return { ...facts, sidecar: facts.sidecar, dir };
    // a copied folder does not change by itself
    if (from.kind === "credential" || clock.now() > deadline)
      throw noCredential(dir, from, objection ?? "is incomplete");
    await clock.sleep(CHECK_MS, signal);
  }
}

/** Why these facts are not the workload's; undefined when they are. Pure. */
export function objectionTo(
  facts: CredentialFacts,
  workload: Workload,
  registeredBy: number | undefined,
): string | undefined {
  if (facts.namespace !== workload.namespace || facts.name !== workload.name) {
    return `is of ${facts.namespace}/${facts.name}, not of ${workload.namespace}/${workload.name}`;
  }
  if (facts.serviceAccount !== workload.serviceAccount) {
    return `is for the account ${facts.serviceAccount}, not for ${workload.serviceAccount}`;
  }
  // an agent that is older than this command does not say it
  const registrant = facts.registeredBy ?? registeredBy;
  if (registeredBy !== undefined && registrant !== registeredBy) return "is of an earlier registration";
  if (facts.sidecar === undefined) return "is of a gateway, not of a workload";
  if (!workload.redirect || facts.sidecar.redirect !== undefined) return undefined;
  return "has no redirect: its manifest needs spec.redirect: true, and the site a loopback range";
}

function noCredential(dir: string, from: RunConfig["from"], what: string): UserError {
  const hint =
    from.kind === "credential"
      ? "copy the workload's whole folder from the site's data folder, and name its account, namespace and name"
      : `is the site running with this data folder? isthmus site --data ${from.dir} --manifests DIR; its log names a manifest that it refuses`;
  return new UserError("ISTHMUS_CREDENTIAL", `the credential ${dir} ${what}`, { hint });
}

/** The agent removes the folder of a workload that is gone: then it has told the fleet. Bounded: the agent may be away. */
export async function credentialGone(dir: string, withinMs: number, clock: Clock): Promise<boolean> {
  const deadline = clock.now() + withinMs;
  for (const never = new AbortController().signal; ;) {
    const there = await stat(join(dir, credentialFile.token)).then(
      () => true,
      () => false,
    );
    if (!there) return true;
    if (clock.now() > deadline) return false;
    await clock.sleep(CHECK_MS, never);
  }
}
