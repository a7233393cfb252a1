// `isthmus accept | reject | revoke`, and `leave` on the hub: what an operator decides about a member. That its identity is trusted no more
// reaches every gateway and sidecar of the fleet within seconds, and everything else goes on.
import { Command } from "commander";
import { askOperator } from "../../hub/operator-client.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";

type Options = DataOption & { readonly undo?: boolean; readonly output: Format };

type Verb = "accept" | "reject" | "leave" | "revoke" | "reinstate";

const told: Readonly<Record<Verb, (cluster: string) => string>> = {
  accept: (cluster) => `${cluster} is accepted: its agent gets its certificates within seconds`,
  reject: (cluster) => `${cluster} is rejected: its token is worth nothing, the name is free again`,
  leave: (cluster) => `${cluster} has left: its services are withdrawn, its identity is trusted no more`,
  revoke: (cluster) => `${cluster} is revoked: nobody in the fleet takes its connections or calls it any more`,
  reinstate: (cluster) => `${cluster} is trusted again`,
};

export function acceptCommand(streams: Streams): Command {
  return memberCommand("accept", "let a cluster in that joined with a token that must be accepted").action(
    (cluster: string, options: Options) => changeMember("accept", cluster, options, streams),
  );
}

export function rejectCommand(streams: Streams): Command {
  return memberCommand("reject", "turn a cluster away that waits to be accepted").action(
    (cluster: string, options: Options) => changeMember("reject", cluster, options, streams),
  );
}

export function revokeCommand(streams: Streams): Command {
  return memberCommand(
    "revoke",
    "cut a member off: its identity is refused everywhere, its services are called no more",
  )
    .option("--undo", "trust it again")
    .action((cluster: string, options: Options) =>
      changeMember(options.undo === true ? "reinstate" : "revoke", cluster, options, streams),
    );
}

function memberCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .argument("<cluster>", "the member's name: see isthmus clusters")
    .addOption(dataOption());
}

export async function changeMember(
  verb: Verb,
  cluster: string,
  { data, output }: Options,
  streams: Streams,
): Promise<void> {
  const path = `/v1/members/${encodeURIComponent(cluster)}/${verb}`;
  const answer = await askOperator(data, { method: "POST", path });
  const out = openOutput(output, streams);
  // whoever left and was revoked afterwards is not trusted by the undoing of that
  const outcome = answer["state"] === "left" && verb === "reinstate" ? "leave" : verb;
  out.result(answer, told[outcome](cluster));
  out.next(`isthmus ${nextOf(outcome, cluster)}${dataFlag(data)}`);
}

function nextOf(verb: Verb, cluster: string): string {
  if (verb === "revoke") return `revoke ${cluster} --undo`;
  return verb === "leave" ? `token create ${cluster}` : "clusters";
}
