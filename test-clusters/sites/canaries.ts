// Every secret of a run of sites in each form that a careless line could carry it in, and every place where such a line could be:
// logs, errors, metrics, debug views, Redis, the audit log, arguments, environments, Envoy's dumps. Used by trust.e2e.ts.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { localKek, unseal } from "../../shared/pki/sealing.ts";
import { fleetDomain } from "../stage/fleet-domain.ts";
import { processesOfRun, programOf, type ProcessEntry } from "./process-table.ts";
import type { SiteFleet } from "./site-fleet.ts";

export interface Canary {
  /** Where the secret is kept; printed instead of it. */
  readonly from: string;
  readonly forms: readonly string[];
}

export interface Sink {
  readonly name: string;
  readonly content: string;
}

const pemBlock = /-----BEGIN (?:EC )?PRIVATE KEY-----([A-Za-z0-9+/=\s\\]+?)-----END/g;
const anyKey = "PRIVATE KEY-----";

/** A secret of bytes as text: base64 of both alphabets and hex; a part of it is as bad as all of it. */
export function formsOf(bytes: Uint8Array): readonly string[] {
  const all = Buffer.from(bytes);
  return [all.toString("base64"), all.toString("base64url"), all.toString("hex")].map((form) =>
    form.replace(/=+$/, ""),
  );
}

/** The body of each private key in a text (PEM, also inside of JSON), and its last line, which holds the public half's end. */
export function keyForms(content: string): readonly string[] {
  return [...content.matchAll(pemBlock)].flatMap((match) => {
    const lines = (match[1] ?? "").split(/\\n|\s+/).filter((line) => line !== "");
    const der = Buffer.from(lines.join(""), "base64");
    // PKCS#8 of a P-256 key: the 32 octets of the private number begin at 36
    return [...lines.slice(0, 1), ...formsOf(der), ...formsOf(der.subarray(36, 68))];
  });
}

/** `isthmus1.<base64url of JSON>`: the text, and the secret in it. */
export function tokenForms(token: string): readonly string[] {
  const body = token.trim().replace(/^isthmus1\./, "");
  const { secret = "" } = JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as { secret?: string };
  return [body, ...formsOf(Buffer.from(secret, "base64url"))];
}

/** `secret <- sink` for all that is found where it should not be; the secret itself is not repeated. */
export function findCanaries(canaries: readonly Canary[], sinks: readonly Sink[]): readonly string[] {
  return sinks.flatMap(({ name, content }) => [
    ...canaries
      .filter(({ forms }) => forms.some((form) => content.includes(form)))
      .map(({ from }) => `${from} <- ${name}`),
    ...(content.includes(anyKey) ? [`a private key <- ${name}`] : []),
  ]);
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true);
}

const read = (path: string) => readFileSync(path, "latin1");

/** What is secret in this run. */
export async function canariesOf(fleet: SiteFleet): Promise<readonly Canary[]> {
  const { dataDir } = fleet.hub;
  const kek = Buffer.from(read(join(dataDir, "kek")).trim(), "base64url");
  const unsealed = readdirSync(join(dataDir, "keys")).map(async (name) => {
    const [, purpose = "", keyId = ""] = /^(.*)-([^-]+)\.json$/.exec(name) ?? [];
    const opened = await unseal(read(join(dataDir, "keys", name)), localKek(kek), { fleetDomain, keyId, purpose });
    if (!opened.ok) throw new Error(`${name} cannot be opened`);
    return { from: `hub/keys/${name}`, forms: keyForms(opened.value.toString("utf8")) };
  });
  const sealed = await Promise.all(unsealed);
  const pepper = Buffer.from(read(join(dataDir, "pepper")).trim(), "base64url");
  const ofHub = [{ from: "kek", forms: formsOf(kek) }, { from: "pepper", forms: formsOf(pepper) }, ...sealed];
  const ofSites = fleet.members.flatMap((name) => {
    const site = fleet.site(name);
    const paths = filesBelow(site.dataDir);
    const keys = paths.map((path) => ({ from: path, forms: keyForms(read(path)) }));
    const tokens = paths
      .filter((path) => path.endsWith("/token"))
      .map((path) => ({ from: path, forms: [read(path).trim()] }));
    return [...keys, ...tokens, { from: `${name}'s join token`, forms: tokenForms(read(site.tokenFile)) }];
  });
  return [...ofHub, ...ofSites].filter(({ forms }) => forms.length > 0);
}

/** Everything that people and other machines get to see. */
export async function sinksOf(fleet: SiteFleet, said: readonly Sink[]): Promise<readonly Sink[]> {
  const { folder, places } = fleet.run;
  const { dataDir } = fleet.hub;
  const files = [
    ...filesBelow(join(folder, "logs")),
    ...filesBelow(join(dataDir, "redis")),
    join(dataDir, "audit.jsonl"),
  ];
  const processes = processesOfRun(folder);
  const commands = [["status"], ["clusters"], ["services"], ["audit"], ["token", "list"]];
  const pages = [
    `http://${places.hubAddress}:${places.hubHttpPort}/metrics`,
    ...fleet.members.flatMap((name) =>
      ["/metrics", ...["ir", "remote", "sources", "streams", "hub", "problems"].map((view) => `/debug/${view}`)].map(
        (path) => fleet.site(name).adminUrl(path),
      ),
    ),
  ];
  return [
    ...said,
    ...files.map((path) => ({ name: path, content: read(path) })),
    ...processes.map(({ pid, argv, environment }) => ({
      name: `arguments and environment of ${pid}`,
      content: [...argv, ...environment].join("\n"),
    })),
    ...(await Promise.all(pages.map(async (name) => ({ name, content: await (await fetch(name)).text() })))),
    ...(await Promise.all(
      commands.map(async (words) => ({
        name: words.join(" "),
        content: await fleet.product.isthmus([...words, "-o", "json", "--data", dataDir]),
      })),
    )),
    ...(await Promise.all(processes.filter((each) => programOf(each) === "envoy").map(envoyDumps))).flat(),
  ];
}

const dumps = ["/config_dump?include_eds", "/certs", "/stats", "/clusters", "/server_info"];

async function envoyDumps({ pid, argv }: ProcessEntry): Promise<readonly Sink[]> {
  const config = argv[argv.findIndex((word) => word === "-c" || word === "--config-path") + 1] ?? "";
  const bootstrap = JSON.parse(read(config)) as { admin?: { address?: { pipe?: { path?: string } } } };
  const socketPath = bootstrap.admin?.address?.pipe?.path;
  if (socketPath === undefined) throw new Error(`the Envoy ${pid} has no admin socket`);
  return Promise.all(
    dumps.map(async (path) => ({ name: `Envoy ${pid} ${path}`, content: await getBySocket(socketPath, path) })),
  );
}

function getBySocket(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path }, (response) => void text(response).then(resolve, reject))
      .on("error", reject)
      .end();
  });
}
