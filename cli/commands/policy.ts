// `isthmus policy try FILE|FOLDER`: which flows a change of policy would allow or cut, across the fleet, before it is applied. The agents
// build the changed mesh beside the one that stands and compare; nothing is applied.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { Command, Option } from "commander";
import { parseAllDocuments } from "yaml";
import { maxTrialBytes, type MemberTrial, type TrialReport } from "../../hub/api/trial.ts";
import { askOperator } from "../../hub/operator-client.ts";
import { UserError } from "../../shared/errors.ts";
import { dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, table, type Format, type Streams } from "../output.ts";

type Options = DataOption & {
  readonly member?: string;
  readonly delete?: boolean;
  readonly permissive?: "on" | "off";
  readonly output: Format;
};

export function policyCommand(streams: Streams): Command {
  const attempt = new Command("try")
    .description("say which flows a change would allow or cut, before it is applied")
    .argument(
      "[path]",
      "a manifest, or a folder of them: TrafficTarget, HTTPRouteGroup, TCPRoute, ServiceExport, Namespace",
    )
    .option("--member <name>", "try it in this member, and its copies in others; else in every one that is connected")
    .option("--delete", "try what would be if the objects were deleted")
    .addOption(new Option("--permissive <mode>", "try permissive mode of the whole member").choices(["on", "off"]))
    .addOption(dataOption())
    .action((path: string | undefined, options: Options) => run(path, options, streams));
  return new Command("policy").description("look at policy before it is applied").addCommand(attempt);
}

async function run(path: string | undefined, options: Options, streams: Streams): Promise<void> {
  const { data, output, member = "", permissive = "" } = options;
  if (path === undefined && permissive === "")
    throw new UserError("ISTHMUS_USAGE", "nothing is to be tried", {
      hint: "isthmus policy try FILE, or --permissive off",
    });
  const objectsJson = path === undefined ? [] : await readObjects(path);
  const body = { member, objectsJson, remove: options.delete === true, permissive };
  const answer = await askOperator(data, { method: "POST", path: "/v1/policy/try", body });
  const { members } = answer as unknown as TrialReport;
  const out = openOutput(output, streams);
  out.result(answer, members.map(trialText).join("\n\n"));
  const verb = options.delete === true ? "delete" : "apply";
  if (path !== undefined) out.next(`kubectl ${verb} -f ${path}, in the member that it is for; nothing was changed yet`);
  else out.say("nothing was changed");
}

async function filesOf(path: string): Promise<readonly string[]> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new UserError("ISTHMUS_POLICY_FILE", `${path} cannot be read`, {
      cause,
      hint: "name a manifest or a folder of them",
    });
  });
  if (!found.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
  return names.map((name) => join(path, name));
}

async function readObjects(path: string): Promise<readonly string[]> {
  const objects: string[] = [];
  for (const file of await filesOf(path)) objects.push(...documentsOf(file, await readFile(file, "utf8")));
  const bytes = objects.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (objects.length > 0 && bytes <= maxTrialBytes) return objects;
  const what =
    objects.length === 0 ? "holds no manifest" : `holds ${bytes} bytes of manifests; ${maxTrialBytes} are the most`;
  throw new UserError("ISTHMUS_POLICY_FILE", `${path} ${what}`, { hint: "name a manifest or a folder of them" });
}

function documentsOf(file: string, text: string): readonly string[] {
  const documents = parseAllDocuments(text, { prettyErrors: false });
  if (!Array.isArray(documents)) return [];
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined)
      throw new UserError("ISTHMUS_POLICY_FILE", `${file} is not YAML: ${error.message.split("\n", 1)[0] ?? ""}`, {
        hint: "nothing was tried",
      });
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    return value === null || value === undefined ? [] : itemsOf(value).map((item) => JSON.stringify(item));
  });
}

/** `kubectl get -o yaml` writes a List. */
function itemsOf(value: unknown): readonly unknown[] {
  const { kind, items } = value as { readonly kind?: unknown; readonly items?: unknown };
  return kind === "List" && Array.isArray(items) ? items : [value];
}

export function trialText({ member, changes, more, problems, unanswered }: MemberTrial): string {
  if (unanswered !== "") return `${member}: cannot be said: ${unanswered}`;
  const cut = changes.filter(({ effect }) => effect === "cut").length;
  const head =
    changes.length === 0
      ? `${member}: no flow changes`
      : `${member}: ${changes.length - cut} flows allowed, ${cut} cut`;
  const rows = changes.map(({ effect, caller, service, content, by, beside }) => [
    `  ${effect}`,
    caller,
    service,
    content,
    beside === "" ? by : `${by} (${beside})`,
  ]);
  const header = ["  CHANGE", "CALLER", "SERVICE", "WHAT", "BY"];
  const said = problems.map(({ code, object, message }) => `  ${code} ${object}${object === "" ? "" : ": "}${message}`);
  return [
    head,
    ...(rows.length === 0 ? [] : [table([header, ...rows])]),
    ...(more === 0 ? [] : [`  and ${more} more`]),
    ...said,
  ].join("\n");
}
