// `isthmus explain FROM TO`: why a call is allowed or refused, with the object that decides, across members. The hub asks the members;
// nothing is sent, nothing is changed.
import { Command } from "commander";
import type { Explanation, MemberFinding } from "../../hub/api/explain.ts";
import type { Backend } from "../../shared/grpc/question-messages.ts";
import { askOperator } from "../../hub/operator-client.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";
import { parseCaller, parseHeader, parseTarget } from "../policy/call-names.ts";

type Options = DataOption & {
  readonly method: string;
  readonly path: string;
  readonly header: readonly string[];
  readonly output: Format;
};

export function explainCommand(streams: Streams): Command {
  return new Command("explain")
    .description("say why a call is allowed or refused, and by which object, across members")
    .argument("<from>", "the caller: MEMBER/NAMESPACE/SERVICEACCOUNT, e.g. east/shop/storefront")
    .argument("<to>", "the service: NAME.NAMESPACE[:PORT], e.g. catalog.shop or catalog.shop.svc.clusterset.local:80")
    .option("--method <method>", "of the HTTP request", "GET")
    .option("--path <path>", "of the HTTP request", "/")
    .option("--header <name: value>", "of the HTTP request; may be given again", collect, [])
    .addOption(dataOption())
    .action((from: string, to: string, options: Options) => run(from, to, options, streams));
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

async function run(fromText: string, toText: string, options: Options, streams: Streams): Promise<void> {
  const { data, output, method, path } = options;
  const target = parseTarget(toText);
  const given = options.header.map(parseHeader);
  const hasHost = given.some(({ name }) => name === "host");
  const headers = hasHost ? given : [...given, { name: "host", value: toText.replace(/:80$/, "") }];
  const body = { from: parseCaller(fromText), to: target, method: method.toUpperCase(), path, headers };
  const answer = await askOperator(data, { method: "POST", path: "/v1/explain", body });
  const explanation = answer as unknown as Explanation;
  const out = openOutput(output, streams);
  out.result(answer, explanationText(explanation));
  const [first] = explanation.findings.filter(({ next }) => next !== "");
  if (first === undefined) out.next(`isthmus services${dataFlag(data)}`);
  else if (first.next.startsWith("isthmus ") || first.next.startsWith("kubectl ")) out.next(first.next);
  else out.say(`what would do: ${first.next}`);
}

const verdicts: Readonly<Record<Explanation["outcome"], string>> = {
  allowed: "allowed",
  refused: "refused",
  partly: "partly: some of those that may answer allow it, others refuse it",
  unserved: "nobody answers",
  outside: "outside the mesh",
  unknown: "cannot be said",
};

export function explanationText(explanation: Explanation): string {
  const { from, to, method, path, protocol, outcome, redirect, backends, findings } = explanation;
  const isHttp = protocol === "" || ["http", "http2", "grpc"].includes(protocol);
  const what = isHttp ? `${method} ${path}` : protocol;
  const port = to.port === 0 ? "" : `:${to.port}`;
  const who = `${from.member}/${from.namespace}/${from.serviceAccount}`;
  const answering = backends.map((backend) => backendText(backend, to)).join(", ");
  return [
    `${verdicts[outcome]}: ${who} -> ${to.name}.${to.namespace}${port} ${what}`,
    ...(answering === "" ? [] : [`  answered by ${answering}`]),
    ...(redirect === ""
      ? []
      : [`  the first sidecar answers 307 and names the path ${redirect}; what follows is said of that`]),
    ...findings.map(findingText),
  ].join("\n");
}

/** The service is named where it is not the one that was called. */
function backendText({ member, namespace, name, ready, total }: Backend, to: Explanation["to"]): string {
  const other = namespace === to.namespace && name === to.name ? "" : ` ${name}.${namespace}`;
  return `${member}${other} (${ready} of ${total} ready)`;
}

function findingText({ member, side, outcome, why, message, account }: MemberFinding): string {
  const whose = side === "caller" ? `${member}, caller` : `${member}, server${account === "" ? "" : ` ${account}`}`;
  return `  ${whose}: ${outcome === "sent" ? "" : `${outcome}: `}${message} [${why}]`;
}
