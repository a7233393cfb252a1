// `isthmus federate [FLEET]`: other fleets whose workloads this one verifies, each by its own roots. Alone it lists them.
import { readFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { askOperator } from "../../hub/operator-client.ts";
import { UserError } from "../../shared/errors.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, table, type Format, type Streams } from "../output.ts";

interface Options extends DataOption {
  readonly url?: string;
  readonly profile: string;
  readonly endpointId?: string;
  readonly bundle?: string;
  readonly remove?: boolean;
  readonly own?: boolean;
  readonly output: Format;
}

interface FleetRow {
  readonly fleetDomain: string;
  readonly url: string;
  readonly profile: string;
  readonly sequence: number;
  readonly roots: number;
  readonly problem: string;
}

export function federateCommand(streams: Streams): Command {
  return new Command("federate")
    .description("verify workloads of another fleet by its own roots; without a fleet: list the fleets")
    .argument("[fleet]", "the other fleet's domain")
    .option("--url <url>", "its SPIFFE bundle endpoint: https://HOST:PORT/")
    .addOption(
      new Option("--profile <profile>", "how its endpoint proves itself")
        .choices(["https_web", "https_spiffe"])
        .default("https_web"),
    )
    .option("--endpoint-id <id>", "SPIFFE ID of its endpoint, for https_spiffe (default: spiffe://FLEET/hub)")
    .option("--bundle <file>", "its bundle to begin with: needed for https_spiffe")
    .option("--remove", "trust that fleet no more")
    .option("--own", "print this fleet's own bundle, for the other fleet's operator")
    .addOption(dataOption())
    .action((fleet: string | undefined, options: Options) => federate(fleet, options, streams));
}

async function federate(fleet: string | undefined, options: Options, streams: Streams): Promise<void> {
  const { data, output, own, remove } = options;
  const out = openOutput(output, streams);
  if (fleet === undefined || own === true) {
    const overview = await askOperator(data, { method: "GET", path: "/v1/federation" });
    if (own === true) out.result(overview["bundle"] as object, JSON.stringify(overview["bundle"], null, 2));
    else out.result(overview, fleetTable(overview["fleets"] as readonly FleetRow[]));
    if (own !== true) out.next(`isthmus federate FLEET --url URL${dataFlag(data)}`);
    return;
  }
  if (remove === true) {
    const path = `/v1/federation/${encodeURIComponent(fleet)}/remove`;
    out.result(await askOperator(data, { method: "POST", path }), `workloads of ${fleet} are trusted no more`);
  } else {
    const answer = await askOperator(data, {
      method: "POST",
      path: "/v1/federation",
      body: await orderOf(fleet, options),
    });
    out.result(answer, `workloads of ${fleet} may be granted: annotation isthmus.dev/source-fleets on a TrafficTarget`);
  }
  out.next(`isthmus federate${dataFlag(data)}`);
}

async function orderOf(fleetDomain: string, { url, profile, endpointId, bundle }: Options): Promise<object> {
  if (url === undefined) {
    throw new UserError("ISTHMUS_USAGE", "the other fleet's bundle endpoint is missing", {
      hint: `isthmus federate ${fleetDomain} --url https://HOST:PORT/`,
    });
  }
  const given = bundle === undefined ? {} : { bundle: await read(bundle) };
  return { fleetDomain, url, profile, ...(endpointId === undefined ? {} : { endpointId }), ...given };
}

async function read(file: string): Promise<string> {
  return readFile(file, "utf8").catch((cause: unknown) => {
    throw new UserError("ISTHMUS_FILE", `${file} cannot be read`, {
      cause,
      hint: "on the other hub: isthmus federate --own",
    });
  });
}

function fleetTable(fleets: readonly FleetRow[]): string {
  if (fleets.length === 0) return "this fleet is federated with none";
  const rows = fleets.map(({ fleetDomain, profile, sequence, roots, url, problem }) => [
    ...[fleetDomain, profile, String(sequence), String(roots), url],
    problem === "" ? "-" : problem,
  ]);
  return table([["FLEET", "PROFILE", "SEQUENCE", "ROOTS", "ENDPOINT", "PROBLEM"], ...rows]);
}
