// `isthmus init`: makes a fleet, that is the hub's data folder with the root CA. `-o secret` prints it as a Kubernetes
// Secret, from which the hub's chart takes its first state.
import { Command, Option } from "commander";
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, realpath, rm } from "node:fs/promises";
import { isIP } from "node:net";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { RootKind } from "../../hub/ca/fleet-file.ts";
import { parseFleetDomain, type FleetDomain } from "../../shared/ids.ts";
import { writeSecretFile } from "../../shared/pki/secret-file.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";

interface InitOptions extends DataOption {
  readonly fleetDomain?: string;
  readonly advertise?: string;
  readonly kekFile?: string;
  readonly keys?: string;
  readonly root: RootKind;
  readonly issuers?: string;
  readonly output: Format | "secret";
}

const defaultAdvertise = "localhost:8443";

export function initCommand(streams: Streams): Command {
  return new Command("init")
    .description("make a fleet: the hub's data folder with the root certificate authority")
    .argument("[fleet-domain]", "domain of the fleet, such as acme.mesh: part of every identity, never changed later")
    .option("--fleet-domain <domain>", "the same as an option")
    .addOption(dataOption())
    .option(
      "--advertise <host:port>",
      `where agents reach the hub; goes into join tokens (default: ${defaultAdvertise})`,
    )
    .option(
      "--kek-file <file>",
      "key-encryption key, best on another disk; made if it is not there (default: DATA/kek)",
    )
    .addOption(
      new Option("--keys <uri>", "keep the keys in a PKCS#11 token: pkcs11:token=...?module-path=...").conflicts(
        "kekFile",
      ),
    )
    .addOption(
      new Option("--root <kind>", "where the root lives; offline: you sign the hub's request elsewhere")
        .choices(["self", "offline", "vault", "cert-manager"])
        .default("self"),
    )
    .option("--issuers <file>", "where vault or cert-manager is (issuers.json); copied into the data folder")
    .addOption(
      new Option("-o, --output <format>", "text, json or secret").choices(["text", "json", "secret"]).default("text"),
    )
    .action((domain: string | undefined, options: InitOptions) => init(domain, options, streams));
}

async function init(argument: string | undefined, options: InitOptions, streams: Streams): Promise<void> {
  // loaded here, because every other command would pay for it
  const [{ checkAddress }, { writeHubFile }] = await Promise.all([
    import("../../hub/config.ts"),
    import("../../hub/hub-file.ts"),
  ]);
  const { output, data } = options;
  const fleetDomain = fleetDomainOf(argument ?? options.fleetDomain);
  const advertise = checkAddress("--advertise", options.advertise ?? defaultAdvertise);
  const { dataDir, made } = await prepareFolder(data);
  let requestFile: string | undefined;
  try {
    requestFile = await beginIn(dataDir, { fleetDomain, advertise, options });
    await writeHubFile(dataDir, advertise);
  } catch (error) {
    if (made) await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
  const out = openOutput(output === "secret" ? "text" : output, streams);
  if (requestFile !== undefined) {
    const text = `the fleet ${fleetDomain} waits in ${dataDir} for its root: sign ${requestFile} with it (docs/issuers.md)`;
    out.result({ fleetDomain, dataDir, advertise, requestFile }, text);
    out.next(`isthmus root import CHAIN.pem${dataFlag(data)}`);
    return;
  }
  if (output === "secret") {
    streams.stdout(await secretManifest(dataDir));
    out.say(`the fleet ${fleetDomain} was made in ${dataDir}; the Secret holds its root key: apply it, keep no copy`);
    const values = `fleet.domain=${fleetDomain},fleet.advertise=${advertise},authority.secretName=${secretName}`;
    out.next(`kubectl -n isthmus-hub apply -f SECRET && helm install isthmus-hub deploy/charts/hub --set ${values}`);
    return;
  }
  out.result({ fleetDomain, dataDir, advertise }, `the fleet ${fleetDomain} was made in ${dataDir}`);
  if (options.advertise === undefined) {
    out.say(`agents will look for the hub at ${advertise}: start it with --advertise HOST:PORT if they run elsewhere`);
  }
  out.next(`isthmus hub${dataFlag(data)}`);
}

interface Beginning {
  readonly fleetDomain: FleetDomain;
  readonly advertise: string;
  readonly options: InitOptions;
}

/** The request that somebody has to sign, if the root is offline. */
async function beginIn(dataDir: string, { fleetDomain, advertise, options }: Beginning): Promise<string | undefined> {
  const { beginFleet, beginOfflineFleet } = await import("../../hub/ca/new-fleet.ts");
  const { keys, kekFile, root, issuers } = options;
  if (issuers !== undefined) await keepIssuers(dataDir, issuers);
  const place = {
    ...(keys === undefined ? {} : { keys }),
    ...(kekFile === undefined ? {} : { kekFile: resolve(kekFile) }),
  };
  const fleet = { fleetDomain, serverNames: serverNames(advertise), clock: systemClock, place, root };
  if (root === "offline") return beginOfflineFleet(dataDir, fleet);
  await beginFleet(dataDir, fleet);
  return undefined;
}

async function keepIssuers(dataDir: string, file: string): Promise<void> {
  const { issuersFilePath } = await import("../../hub/ca/issuers-file.ts");
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new UserError("ISTHMUS_ISSUERS_FILE", `cannot read ${file}`, { cause, hint: "--issuers names a JSON file" });
  });
  await writeSecretFile(issuersFilePath(dataDir), text, 0o600);
}

function fleetDomainOf(text: string | undefined): FleetDomain {
  if (text === undefined) {
    throw new UserError("ISTHMUS_FLEET_DOMAIN", "the fleet has no domain yet", { hint: "isthmus init acme.mesh" });
  }
  const domain = parseFleetDomain(text);
  if (domain.ok) return domain.value;
  const [problem] = domain.error;
  throw new UserError(problem?.code ?? "ISTHMUS_FLEET_DOMAIN", problem?.message ?? "not a domain", {
    hint: "isthmus init acme.mesh",
  });
}

/** An existing folder is used when it is empty (a mounted volume); one with files is somebody's. */
async function prepareFolder(data: string): Promise<{ readonly dataDir: string; readonly made: boolean }> {
  const wanted = resolve(data);
  const made = (await mkdir(wanted, { recursive: true, mode: 0o700 })) !== undefined;
  const dataDir = await realpath(wanted);
  const files = (await readdir(dataDir)).filter((name) => name !== "lost+found");
  if (files.includes("fleet.json")) {
    throw new UserError("ISTHMUS_FLEET_EXISTS", `${dataDir} already holds a fleet`, {
      hint: `start it: isthmus hub${dataFlag(data)}; or choose another folder with --data`,
    });
  }
  if (files.length > 0) {
    throw new UserError("ISTHMUS_DATA", `${dataDir} is not empty`, { hint: "choose another folder with --data" });
  }
  return { dataDir, made };
}

function serverNames(advertise: string): {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
} {
  const host = advertise.slice(0, advertise.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  const isAddress = isIP(host) !== 0;
  const dnsNames = [...new Set([...(isAddress ? [] : [host]), "isthmus-hub", "localhost"])];
  return { dnsNames, ipAddresses: [...new Set([...(isAddress ? [host] : []), "127.0.0.1"])] };
}

const secretName = "isthmus-hub-data";

/** One file, as the chart unpacks it on an empty volume. */
async function secretManifest(dataDir: string): Promise<string> {
  const { stdout } = await promisify(execFile)("tar", ["-C", dataDir, "-cf", "-", "."], {
    encoding: "buffer",
    maxBuffer: 1024 * 1024,
  });
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: secretName },
    type: "Opaque",
    data: { "data.tar": stdout.toString("base64") },
  };
  return `${JSON.stringify(secret, undefined, 2)}\n`;
}
