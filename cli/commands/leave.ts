// `isthmus leave`: takes a member out. On the hub by its name; on the member's side by its own word, with its own certificate: at a
// site's data folder, or in a cluster through its agent, because the keys of a cluster do not leave it.
import { Command, Option } from "commander";
import { join, resolve } from "node:path";
import process from "node:process";
import { systemClock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { IdentityStore, JoinedIdentity } from "../../agent/identity/identity-state.ts";
import { defaultDataDir } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";
import { mustRun } from "../program.ts";
import { systemNamespace } from "../rollout.ts";
import { changeMember } from "./membership.ts";

interface Options {
  readonly data: string;
  readonly site?: string;
  readonly context?: string;
  readonly inPod?: boolean;
  readonly output: Format;
}

export function leaveCommand(streams: Streams): Command {
  return new Command("leave")
    .description("take a member out of the fleet: its services are withdrawn, and it comes back only by a new token")
    .argument("[cluster]", "on the hub: the member's name; left out on the member's side")
    .addOption(new Option("--data <dir>", "data folder of the hub").env("ISTHMUS_DATA").default(defaultDataDir))
    .option("--site <dir>", "on a site: its data folder")
    .option("--context <name>", "of a cluster: its kubectl context")
    .addOption(new Option("--in-pod", "run in the agent's own pod").hideHelp())
    .action((cluster: string | undefined, options: Options) => leave(cluster, options, streams));
}

async function leave(cluster: string | undefined, options: Options, streams: Streams): Promise<void> {
  const { site, context, inPod } = options;
  const chosen = [cluster, site, context, inPod].filter((way) => way !== undefined);
  if (chosen.length !== 1) {
    throw new UserError("ISTHMUS_USAGE", "say who leaves: a name on the hub, --site DIR, or --context NAME", {
      hint: "isthmus leave west; isthmus leave --site DIR; isthmus leave --context west",
    });
  }
  if (cluster !== undefined) await changeMember("leave", cluster, options, streams);
  else if (context !== undefined) await leaveByAgent(context, options, streams);
  else await leaveHere(site === undefined ? await podStore() : await siteStore(site), options, streams);
}

/** What the agent's pod prints is what this prints. */
async function leaveByAgent(context: string, { output }: Options, streams: Streams): Promise<void> {
  const place = ["--context", context, "--namespace", systemNamespace];
  const words = ["/usr/local/bin/node", "/app/cli/isthmus.js", "leave", "--in-pod", "--output", output];
  streams.stdout(await mustRun("kubectl", ["exec", "deploy/isthmus-agent", ...place, "--", ...words]));
}

async function leaveHere(store: IdentityStore, { output }: Options, streams: Streams): Promise<void> {
  const [{ leaveFleet }, { heldIdentity }] = await Promise.all([
    import("../../agent/hub/leave.ts"),
    import("../../agent/identity/identity-state.ts"),
  ]);
  const identity = heldIdentity(await store.load());
  if (identity === undefined) {
    throw new UserError("ISTHMUS_NOT_JOINED", "this is no member of a fleet", { hint: "isthmus clusters, on the hub" });
  }
  await leaveFleet(identity);
  tell(identity, output, streams);
}

function tell({ cluster, fleetDomain, hub }: JoinedIdentity, output: Format, streams: Streams): void {
  const out = openOutput(output, streams);
  out.result({ cluster, fleetDomain, hub, state: "left" }, `${cluster} has left the fleet ${fleetDomain}`);
  out.next(`isthmus token create NAME      (on the hub, to come back)`);
}

async function siteStore(dir: string): Promise<IdentityStore> {
  const { fileIdentityStore } = await import("../../agent/identity/identity-file.ts");
  return fileIdentityStore(join(resolve(dir), "identity.json"));
}

async function podStore(): Promise<IdentityStore> {
  const [
    { openConnection },
    { createClient },
    { secretIdentityStore, secretStore },
    { identitySecret },
    { readAgentConfig },
  ] = await Promise.all([
    import("../../agent/kube/connection.ts"),
    import("../../agent/kube/client.ts"),
    import("../../agent/kube/secret-store.ts"),
    import("../../agent/agent.ts"),
    import("../../agent/config.ts"),
  ]);
  const config = readAgentConfig(process.env);
  if (!config.ok)
    throw new UserError("ISTHMUS_CONFIG", "this is not the agent's pod", { hint: "isthmus leave --context NAME" });
  const at = { namespace: config.value.namespace, name: identitySecret };
  const client = createClient(await openConnection({ kind: "in-cluster" }, systemClock));
  return secretIdentityStore(secretStore(client, at), at);
}
