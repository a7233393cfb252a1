// `isthmus rotate`: a new root for the fleet, step by step and without a request lost, or a new cluster CA for one member.
import { setTimeout as pause } from "node:timers/promises";
import { Command } from "commander";
import type { TrustOverview } from "../../hub/api/trust-overview.ts";
import { askOperator } from "../../hub/operator-client.ts";
import { UserError } from "../../shared/errors.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, type Format, type Output, type Streams } from "../output.ts";

type Common = DataOption & { readonly output: Format };
type RootOptions = Common & {
  readonly to: string;
  readonly emergency?: boolean;
  readonly hold?: string;
  readonly wait?: boolean;
};
type AsideOptions = Common & { readonly proxy?: string; readonly undo?: boolean };
type ResumeOptions = Common & { readonly hold?: string; readonly wait?: boolean };
type WaitOptions = Common & { readonly wait?: boolean };

const lookMs = 500;
/** Vault or cert-manager is asked while the call waits; a person may have to approve. */
const upstreamTimeoutMs = 90_000;

export function rotateCommand(streams: Streams): Command {
  const command = (name: string, description: string) =>
    new Command(name).description(description).addOption(dataOption());
  return new Command("rotate")
    .description("replace the fleet's root, or a member's cluster CA, while everything runs")
    .addCommand(
      command("root", "bring in a new root; the old one leaves when nobody uses it any more")
        .option("--to <kind>", "where the new root comes from: self, offline, vault or cert-manager", "self")
        .option("--emergency", "the old root is compromised: wait for those that answer, and for two minutes at most")
        .option("--hold <step>", "stay in this step until isthmus rotate resume")
        .option("--wait", "until the rotation is over")
        .action((options: RootOptions) => rotateRoot(options, streams)),
    )
    .addCommand(
      command("resume", "let a rotation go on that is held")
        .option("--hold <step>", "stay in this later step")
        .option("--wait", "until the rotation is over")
        .action((options: ResumeOptions) => resume(options, streams)),
    )
    .addCommand(
      command("rollback", "take the running rotation back: possible until the old root is retiring")
        .option("--wait", "until it is taken back")
        .action((options: WaitOptions) => rollBack(options, streams)),
    )
    .addCommand(
      command("set-aside", "do not wait for a member; one that was away when the old root left must join again")
        .argument("<cluster>", "the member's name")
        .option("--proxy <name>", "one proxy of the member alone: by the name that isthmus trust gives it")
        .option("--undo", "wait for it after all")
        .action((cluster: string, options: AsideOptions) => setAside(cluster, options, streams)),
    )
    .addCommand(
      command("cluster-ca", "let a member make a new cluster CA and new certificates for all its workloads now")
        .argument("<cluster>", "the member's name")
        .option("--wait", "until it has it")
        .action((cluster: string, options: WaitOptions) => rotateClusterCa(cluster, options, streams)),
    );
}

async function rotateRoot(options: RootOptions, streams: Streams): Promise<void> {
  const { data, output, to, emergency, hold, wait } = options;
  const body = { to, emergency: emergency === true, hold };
  const answer = await askOperator(data, { method: "POST", path: "/v1/rotation", body, timeoutMs: upstreamTimeoutMs });
  const out = openOutput(output, streams);
  if (to === "offline") {
    out.result(answer, "the rotation has begun: it waits until you have signed the hub's request");
    out.next(`isthmus root request${dataFlag(data)}`);
    return;
  }
  if (wait === true) await untilOver(data, out);
  else out.result(answer, `the rotation has begun: ${stepOf(answer)}; it goes on by itself`);
  out.next(`isthmus trust${dataFlag(data)}`);
}

async function resume({ data, output, hold, wait }: ResumeOptions, streams: Streams): Promise<void> {
  const answer = await askOperator(data, { method: "POST", path: "/v1/rotation/resume", body: { hold } });
  const out = openOutput(output, streams);
  if (wait === true) await untilOver(data, out);
  else out.result(answer, `the rotation goes on: ${stepOf(answer)}`);
  out.next(`isthmus trust${dataFlag(data)}`);
}

async function rollBack({ data, output, wait }: WaitOptions, streams: Streams): Promise<void> {
  const answer = await askOperator(data, { method: "POST", path: "/v1/rotation/roll-back" });
  const out = openOutput(output, streams);
  if (wait === true) await untilOver(data, out);
  else out.result(answer, `the rotation is taken back: ${stepOf(answer)}`);
  out.next(`isthmus trust${dataFlag(data)}`);
}

async function setAside(cluster: string, options: AsideOptions, streams: Streams): Promise<void> {
  const { data, output, proxy, undo } = options;
  const verb = undo === true ? "wait-for" : "set-aside";
  const path = `/v1/rotation/${verb}/${encodeURIComponent(cluster)}`;
  const answer = await askOperator(data, { method: "POST", path, body: { proxy } });
  const out = openOutput(output, streams);
  const told = undo === true ? "is waited for again" : "is not waited for any more";
  out.result(answer, `${proxy === undefined ? cluster : `${proxy} in ${cluster}`} ${told}`);
  out.next(`isthmus trust${dataFlag(data)}`);
}

async function rotateClusterCa(cluster: string, { data, output, wait }: WaitOptions, streams: Streams): Promise<void> {
  const path = `/v1/rotation/cluster-ca/${encodeURIComponent(cluster)}`;
  const answer = await askOperator(data, { method: "POST", path });
  const out = openOutput(output, streams);
  if (wait === true) {
    while ((await overviewOf(data)).reissue.includes(cluster)) await pause(lookMs);
    out.result(answer, `${cluster} has a new cluster CA`);
  } else {
    out.result(answer, `${cluster} is asked for a new cluster CA; its agent hears of it within ten seconds`);
  }
  out.next(`isthmus trust${dataFlag(data)}`);
}

async function overviewOf(data: string): Promise<TrustOverview> {
  return (await askOperator(data, { method: "GET", path: "/v1/trust" })) as unknown as TrustOverview;
}

/** Says each step and each new reason to wait as it comes. A hub that is started again meanwhile is waited for. */
async function untilOver(data: string, out: Output): Promise<void> {
  let told = "";
  for (;;) {
    const overview = await overviewOf(data).catch(ifStopped);
    if (overview !== undefined && overview.rotation === undefined) {
      const { lastRotation } = overview;
      const text = lastRotation?.outcome === "rolled-back" ? "the rotation was taken back" : "the rotation is complete";
      out.result({ lastRotation }, text);
      return;
    }
    const line = progressLine(overview?.rotation);
    if (line !== told) out.say(line);
    told = line;
    await pause(lookMs);
  }
}

function ifStopped(error: unknown): undefined {
  if (error instanceof UserError && error.code === "ISTHMUS_HUB_NOT_RUNNING") return undefined;
  throw error;
}

function progressLine(rotation: TrustOverview["rotation"]): string {
  if (rotation === undefined) return "the hub does not answer";
  const [blocker] = rotation.blockers;
  if (blocker === undefined) return rotation.step;
  const who = blocker.cluster === "" ? "the hub" : blocker.cluster;
  return `${rotation.step}, waits for ${who}: ${blocker.reason.replace(/\d+ s$/, "some time")}`;
}

function stepOf(answer: Record<string, unknown>): string {
  const { rotation } = answer as unknown as TrustOverview;
  return rotation === undefined ? "over" : rotation.step;
}
