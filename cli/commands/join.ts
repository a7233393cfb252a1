// `isthmus join`: installs the agent into a cluster with a join token, and returns when the cluster takes part. Everything
// that can be checked is checked before anything is changed; the token goes by standard input, never by arguments.
import { Command } from "commander";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { UserError } from "../../shared/errors.ts";
import { parseJoinToken, type JoinToken } from "../../shared/join-token.ts";
import { parseDuration } from "../../shared/duration.ts";
import { applyCrds } from "../crds.ts";
import { openOutput, shortDuration, type Format, type Output, type Streams } from "../output.ts";
import { mustRun, runProgram } from "../program.ts";
import { systemNamespace, waitForRollout } from "../rollout.ts";

interface JoinOptions {
  readonly tokenFile: string;
  readonly context: string;
  readonly set: readonly string[];
  readonly values: readonly string[];
  readonly imageRegistry?: string;
  readonly timeout: string;
  readonly output: Format;
}

const chartDir = fileURLToPath(new URL("../../deploy/charts/agent", import.meta.url));

export function joinCommand(streams: Streams): Command {
  const collect = (value: string, before: readonly string[]) => [...before, value];
  return new Command("join")
    .description("let a Kubernetes cluster join the fleet: installs the agent with helm")
    .requiredOption("--token-file <file>", "token made on the hub: isthmus token create NAME")
    .requiredOption("--context <name>", "kubectl context of the cluster")
    .option("--set <key=value>", "value of the agent's chart, as helm takes it (repeatable)", collect, [])
    .option("--values <file>", "file with values of the agent's chart (repeatable)", collect, [])
    .option("--image-registry <prefix>", "registry and path from which the cluster pulls the images")
    .option("--timeout <duration>", "how long to wait until the cluster takes part", "90s")
    .action((options: JoinOptions) => join(options, streams));
}

async function join(options: JoinOptions, streams: Streams): Promise<void> {
  const started = Date.now();
  const { context } = options;
  const timeoutMs = parseDuration("--timeout", options.timeout);
  const out = openOutput(options.output, streams);
  const { token, text } = await readToken(options.tokenFile);
  const [, isMember] = await Promise.all([checkHelm(), checkCluster(context, token)]);
  out.say(`${token.cluster} joins the fleet of the hub at ${token.hub}`);
  if (isMember) {
    out.say(
      `${token.cluster} is a member already: the agent is brought up to date, and joins anew if this token is a new one`,
    );
  }
  await Promise.all([applySecret(context, text), applyCrds(context, `${chartDir}/crds`, (line) => out.say(line))]);
  await installChart(options, out);
  await waitForRollout({ context, timeoutMs, say: (line) => out.say(line) });
  const seconds = (Date.now() - started) / 1000;
  const document = { cluster: token.cluster, hub: token.hub, context, seconds, ready: true };
  out.result(document, `${token.cluster} takes part in the fleet (${seconds.toFixed(1)} s)`);
  out.next(`kubectl --context ${context} label namespace NAME isthmus.dev/inject=enabled`);
}

async function readToken(path: string): Promise<{ readonly token: JoinToken; readonly text: string }> {
  const text = (
    await readFile(path, "utf8").catch((cause: unknown) => {
      throw new UserError("ISTHMUS_TOKEN_FILE", `cannot read ${path}`, {
        cause,
        hint: "make a token on the hub: isthmus token create NAME --out FILE",
      });
    })
  ).trim();
  const parsed = parseJoinToken(text);
  const hint = "make a new one on the hub: isthmus token create NAME --out FILE";
  if (!parsed.ok) {
    const [problem] = parsed.error;
    throw new UserError(problem?.code ?? "ISTHMUS_TOKEN_MALFORMED", problem?.message ?? `${path} is no token`, {
      hint,
    });
  }
  const agoMs = Date.now() - parsed.value.expiresAtMs;
  if (agoMs >= 0) {
    throw new UserError("ISTHMUS_TOKEN_EXPIRED", `the token expired ${shortDuration(agoMs)} ago`, {
      hint: hint.replace("NAME", parsed.value.cluster),
    });
  }
  return { token: parsed.value, text };
}

async function checkHelm(): Promise<void> {
  const version = (await mustRun("helm", ["version", "--template", "{{.Version}}"])).trim();
  if (/^v[0-2]\./.test(version)) {
    throw new UserError("ISTHMUS_PROGRAM_MISSING", `helm ${version} is too old`, { hint: "install Helm 3 or newer" });
  }
}

/**
 * True: this cluster has joined under the token's name before. Another name would be two identities for one cluster.
 * The one question that needs an answer also proves that the context exists and its API server answers; each program
 * that is started costs a tenth of a second, so the others are asked only to say what is wrong.
 */
async function checkCluster(context: string, token: JoinToken): Promise<boolean> {
  const place = ["--context", context, "--namespace", systemNamespace, "--request-timeout", "10s"];
  const read = ["--ignore-not-found", "--output", "jsonpath={.data.cluster}"];
  const found = await runProgram("kubectl", ["get", "secret", "isthmus-cluster-ca", ...place, ...read]);
  if (found.status !== 0) await checkContext(context);
  if (found.status !== 0 || found.stdout === "") return false;
  const joinedAs = Buffer.from(found.stdout, "base64").toString("utf8");
  if (joinedAs === token.cluster) return true;
  throw new UserError(
    "ISTHMUS_TOKEN_WRONG_CLUSTER",
    `the token is for ${token.cluster}, but ${context} joined as ${joinedAs}`,
    {
      hint: `use another --context; or remove the agent first: helm uninstall isthmus-agent --kube-context ${context} -n ${systemNamespace}`,
    },
  );
}

async function checkContext(context: string): Promise<void> {
  const { stdout } = await runProgram("kubectl", ["config", "get-contexts", "--output", "name"]);
  const known = stdout.split("\n").filter(Boolean);
  if (!known.includes(context)) {
    throw new UserError("ISTHMUS_CONTEXT", `kubectl knows no context "${context}"`, {
      hint: known.length === 0 ? "set KUBECONFIG" : `it knows: ${known.slice(0, 8).join(", ")}`,
    });
  }
  const ready = ["get", "--raw", "/readyz", "--context", context, "--request-timeout", "10s"];
  const probe = await runProgram("kubectl", ready);
  if (probe.status !== 0) {
    throw new UserError("ISTHMUS_CLUSTER_UNREACHABLE", `the API server of ${context} does not answer`, {
      cause: new Error(lastLine(probe.stderr)),
      hint: `check: kubectl --context ${context} get nodes`,
    });
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

/** Server-side, so that no annotation keeps a second copy of the token. */
async function applySecret(context: string, token: string): Promise<void> {
  const items = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: systemNamespace } },
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "isthmus-join", namespace: systemNamespace },
      type: "Opaque",
      stringData: { token },
    },
  ];
  const manifest = JSON.stringify({ apiVersion: "v1", kind: "List", items });
  const how = ["--server-side", "--force-conflicts", "--field-manager", "isthmus-join"];
  await mustRun("kubectl", ["apply", "--context", context, ...how, "--filename", "-"], manifest);
}

async function installChart({ context, set, values, imageRegistry }: JoinOptions, out: Output): Promise<void> {
  out.say("installing the agent's chart");
  const place = ["--kube-context", context, "--namespace", systemNamespace];
  const given = [
    ...values.flatMap((file) => ["--values", file]),
    ...(imageRegistry === undefined ? [] : ["--set-string", `image.registry=${imageRegistry}`]),
    ...set.flatMap((assignment) => ["--set", assignment]),
  ];
  // reading the API server's whole schema doubles helm's time; values are checked by the chart's own
  const how = ["--skip-crds", "--disable-openapi-validation"];
  await mustRun("helm", ["upgrade", "--install", "isthmus-agent", chartDir, ...how, ...place, ...given]);
}
