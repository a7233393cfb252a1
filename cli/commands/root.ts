// `isthmus root`: the hub's half of an offline root. `request` names what somebody has to sign, `import` takes what came back.
import { Command } from "commander";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { askOperator } from "../../hub/operator-client.ts";
import { systemClock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";

type Options = DataOption & { readonly output: Format };

export function rootCommand(streams: Streams): Command {
  const command = (name: string, description: string) =>
    new Command(name).description(description).addOption(dataOption());
  return new Command("root")
    .description("sign the hub's issuing CA with a root that the hub does not hold")
    .addCommand(
      command("request", "print the hub's certificate request: sign it with the offline root").action(
        (options: Options) => request(options, streams),
      ),
    )
    .addCommand(
      command("import", "take the signed chain: PEM, issuing CA first, root last")
        .argument("<chain>", "file with the certificates")
        .action((chain: string, options: Options) => importChain(chain, options, streams)),
    );
}

async function request({ data, output }: Options, streams: Streams): Promise<void> {
  const [{ readFleetFile, pendingFleetPath }, { isPending, requestFileOf }] = await Promise.all([
    import("../../hub/ca/fleet-file.ts"),
    import("../../hub/ca/new-fleet.ts"),
  ]);
  const fleet = (await isPending(data))
    ? (JSON.parse(await readFile(pendingFleetPath(data), "utf8")) as Awaited<ReturnType<typeof readFleetFile>>)
    : await readFleetFile(data);
  const file = requestFileOf(data, fleet);
  if (file === undefined) {
    throw new UserError("ISTHMUS_ROOT_NONE_AWAITED", "no root of this fleet is offline", {
      hint: `begin with: isthmus rotate root --to offline${dataFlag(data)}`,
    });
  }
  const out = openOutput(output, streams);
  const pem = await readFile(file, "utf8");
  out.result({ requestFile: file, pem }, pem);
  out.say(`this is ${file}; docs/issuers.md has the openssl commands`);
  out.next(`isthmus root import CHAIN.pem${dataFlag(data)}`);
}

async function importChain(chain: string, { data, output }: Options, streams: Streams): Promise<void> {
  const pem = await readFile(chain, "utf8").catch((cause: unknown) => {
    throw new UserError("ISTHMUS_CHAIN_FILE", `cannot read ${chain}`, { cause, hint: "check the path" });
  });
  const { isPending, completeOfflineFleet } = await import("../../hub/ca/new-fleet.ts");
  const out = openOutput(output, streams);
  if (await isPending(data)) {
    const { fleetDomain } = await completeOfflineFleet(data, pem, systemClock);
    out.result({ fleetDomain, dataDir: join(data) }, `the fleet ${fleetDomain} is complete`);
    out.next(`isthmus hub${dataFlag(data)}`);
    return;
  }
  const answer = await askOperator(data, { method: "POST", path: "/v1/root-chain", body: { pem } });
  out.result(answer, "the chain is good: the hub's issuing CA is signed");
  out.next(`isthmus trust${dataFlag(data)}`);
}
