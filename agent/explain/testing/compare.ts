// Verdict against Envoy: draws policy sets, asks both about the same calls, and says where they differ. Called by the unit run with a
// few sets and by the policy suite with five hundred.
import { loadRe2 } from "../re2.ts";
import { callerVerdict, type CallContent } from "../caller.ts";
import { seenBySidecars, type SeenHttp } from "../request.ts";
import { serverVerdict, type MatchesRegex, type Principal } from "../server.ts";
import { PolicyEnvoy, type Answer, type LoadedSet } from "./policy-envoy.ts";
import { randomPolicies, servicePorts, type SetCall } from "./policy-sets.ts";

const SETS_PER_ENVOY = 50;
/** Calls under way at a time. */
const WIDTH = 16;
/** For as long as an answer differs. */
const AGAIN_MS = 250;
const PATIENCE_MS = 20_000;

export interface Comparison {
  readonly sets: number;
  readonly calls: number;
  readonly allowed: number;
  readonly differences: readonly string[];
}

const accounts = { web: "shop", ops: "bank" } as const;

/** In the words of an answer: status 200, 403, 400 or 307, or whether bytes come back. */
function expected(set: LoadedSet, call: SetCall, matches: MatchesRegex): Answer {
  const { method, path, headers } = call.http;
  if (call.servicePort === 5432) return { answered: isAllowed(set, call, { method, path, headers }, matches) };
  if (isRevoked(set, call)) return { status: 0, location: "" };
  const authority = "by" in call && call.servicePort !== 80 ? `cart.shop:${call.servicePort}` : "cart.shop";
  const seen = seenBySidecars({ method, path, headers: { ...headers, host: authority } });
  if (seen.kind === "malformed") return { status: 400, location: "" };
  // a path is normalised before any route is looked for
  if (seen.kind === "redirect") return { status: 307, location: seen.path };
  return { status: isAllowed(set, call, seen.request, matches) ? 200 : 403, location: "" };
}

/** A member that is revoked gets no connection. */
function isRevoked({ inputs }: LoadedSet, call: SetCall): boolean {
  return "as" in call && inputs.revokedTrustDomains.includes(`${call.as.cluster}.acme.mesh`);
}

function principalOf(call: SetCall): Principal {
  return "as" in call ? call.as : { cluster: "east", namespace: accounts[call.by], serviceAccount: call.by };
}

/** Whose sidecar answers: the one that the caller's own sidecar sends the call to; undefined when it sends it nowhere. */
function serverOf(set: LoadedSet, call: SetCall, content: CallContent): string | undefined {
  if ("as" in call) return "cart";
  const target = { namespace: "shop", name: "cart", port: call.servicePort };
  const called = callerVerdict(set, principalOf(call), target, content);
  if (called.kind !== "sent") return undefined;
  const accounts = new Set(called.legs.flatMap(({ local }) => local.map(({ serviceAccount }) => serviceAccount)));
  if (accounts.size > 1) throw new Error("a call of a set goes to one workload");
  return [...accounts][0];
}

function isAllowed(set: LoadedSet, call: SetCall, request: SeenHttp, matches: MatchesRegex): boolean {
  const { ir } = set;
  const serviceAccount = serverOf(set, call, { request, matches });
  if (serviceAccount === undefined) return false;
  const workload = ir.workloads.find((each) => each.serviceAccount === serviceAccount);
  const inbound = workload?.inbound.find(({ port }) => port === servicePorts[call.servicePort]);
  if (inbound === undefined) throw new Error("the server has no such port");
  const server = { namespace: "shop", serviceAccount, inbound };
  return serverVerdict(ir, server, principalOf(call), { request, matches }).allowed;
}

function isSame(a: Answer, b: Answer): boolean {
  if ("status" in a && "status" in b)
    return a.status === b.status && (a.status !== 307 || b.location.endsWith(a.location));
  return "answered" in a && "answered" in b && a.answered === b.answered;
}

function differenceText(
  set: LoadedSet,
  call: SetCall,
  answers: { readonly verdict: Answer; readonly envoy: Answer },
): string {
  const { trafficTargets, httpRouteGroups, tcpRoutes, trafficSplits, permissive, namespaceModes, revokedTrustDomains } =
    set.inputs;
  const policy = {
    trafficTargets,
    httpRouteGroups,
    tcpRoutes,
    trafficSplits,
    permissive,
    namespaceModes,
    revokedTrustDomains,
  };
  return JSON.stringify({ call, ...answers, policy });
}

/**
 * Asked again when it differs: a machine that stalls for longer than a listener's inspectors wait (0.1 s) makes Envoy take TLS for
 * something else. A verdict that is wrong stays wrong.
 */
async function answerOf(envoy: PolicyEnvoy, set: LoadedSet, call: SetCall, verdict: Answer): Promise<Answer> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await envoy.ask(set, call);
    if (isSame(verdict, answer) || performance.now() > end) return answer;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

export async function compareVerdicts(binary: string, count: number, seed: number): Promise<Comparison> {
  const matches = await loadRe2();
  const policies = randomPolicies(count, seed);
  const envoy = new PolicyEnvoy(binary);
  const differences: string[] = [];
  let [calls, allowed] = [0, 0];
  try {
    await envoy.open();
    for (let from = 0; from < policies.length; from += SETS_PER_ENVOY) {
      const sets = await envoy.load(policies.slice(from, from + SETS_PER_ENVOY));
      const asked = sets.flatMap((set) => set.calls.map((call) => ({ set, call })));
      const next = asked.values();
      const worker = async () => {
        for (const { set, call } of next) {
          const verdict = expected(set, call, matches);
          const answer = await answerOf(envoy, set, call, verdict);
          calls += 1;
          if ("status" in answer ? answer.status === 200 : answer.answered) allowed += 1;
          if (!isSame(verdict, answer)) differences.push(differenceText(set, call, { verdict, envoy: answer }));
        }
      };
      await Promise.all(Array.from({ length: WIDTH }, worker));
    }
  } finally {
    await envoy.close();
  }
  return { sets: policies.length, calls, allowed, differences };
}
