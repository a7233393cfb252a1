// The CRDs of the agent's chart in a cluster: made where they are missing, brought up to date where an earlier join made them,
// and left alone where somebody else did. Used by `isthmus join`.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../shared/errors.ts";
import { mustRun, runProgram } from "./program.ts";

/** The label of those that we made; each file of the chart carries it. */
const ours = "app.kubernetes.io/part-of=isthmus";

/** As helm would, one after the other and waiting for each. */
export async function applyCrds(context: string, folder: string, say: (line: string) => void): Promise<void> {
  const create = ["create", "--context", context, "--filename", folder];
  const { status, stderr } = await runProgram("kubectl", create);
  if (status === 0) return;
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  const refused = lines.filter((line) => !line.includes("(AlreadyExists)"));
  if (refused.length > 0) {
    throw new UserError("ISTHMUS_PROGRAM_FAILED", `kubectl create failed with status ${status}`, {
      cause: new Error(refused.at(-1)?.trim() ?? ""),
      hint: `run it by hand to see all of it: kubectl ${create.join(" ")}`,
    });
  }
  await update(context, folder, say);
}

async function update(context: string, folder: string, say: (line: string) => void): Promise<void> {
  const place = ["--context", context, "--request-timeout", "10s"];
  const list = ["get", "customresourcedefinitions", "--selector", ours, "--output", "name", ...place];
  const known = new Set((await mustRun("kubectl", list)).split("\n").map((line) => line.replace(/^.*\//, "")));
  const files = (await readdir(folder)).sort();
  for (const file of files.filter((each) => !known.has(nameOf(each))))
    say(`${nameOf(file)} was made by somebody else and stays as it is: only what it serves is read`);
  const mine = files.filter((each) => known.has(nameOf(each))).flatMap((each) => ["--filename", join(folder, each)]);
  if (mine.length === 0) return;
  // the agent's own field, the authority of its conversions, belongs to another manager and stays
  const how = ["--server-side", "--force-conflicts", "--field-manager", "isthmus-join"];
  await mustRun("kubectl", ["apply", "--context", context, ...how, ...mine]);
}

/** `split.smi-spec.io_trafficsplits.yaml` holds `trafficsplits.split.smi-spec.io`. */
function nameOf(file: string): string {
  const [group = "", plural = ""] = file.replace(/\.yaml$/, "").split("_");
  return `${plural}.${group}`;
}
