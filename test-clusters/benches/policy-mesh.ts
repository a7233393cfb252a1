// The mesh of bench `policy`: 1,000 services with an account and a pod each, two TrafficTargets to every account, and the changes
// that are made to it. Who is affected by a change is said here from the mesh's own sentences (who may call whom), not from what
// the agent did: otherwise no stream could ever be unaffected and written to.
import type { HttpRouteGroupInput, MeshInputs, SubjectInput, TrafficTargetInput } from "../../agent/ir/inputs.ts";
import {
  aCapacityRecord,
  aGatewayRecord,
  anEndpoint,
  aPod,
  aRouteGroup,
  aService,
  aServiceRecord,
  aSlice,
  aTarget,
  someInputs,
} from "../../agent/ir/testing/objects.ts";

export const SERVICES = 1_000;
export const TARGETS = 2 * SERVICES;
/** Sidecars of the first services, of one account that may call everything, and a gateway. */
export const STREAMS = 100;
const SIDECARS = STREAMS - 2;
const EXPORTED = 100;
const SOURCES_PER_TARGET = 3;

const namespace = "shop";
/** An ingress: it sees every service, so its configuration is the largest there can be. */
export const everywhere = "ingress";
export const gatewayPod = "gateway-1";
const systemNamespace = "isthmus-system";
export const gatewayAccount = { namespace: systemNamespace, serviceAccount: "isthmus-gateway" };

const account = (index: number) => `s${index}`;
const podOf = (name: string) => `${name}-1`;

export interface StreamOwner {
  readonly pod: string;
  readonly namespace: string;
  readonly kind: "sidecar" | "gateway";
}

export function streamOwners(): readonly StreamOwner[] {
  const accounts = [...Array.from({ length: SIDECARS }, (_, index) => account(index)), everywhere];
  const sidecars = accounts.map((name) => ({ pod: podOf(name), namespace, kind: "sidecar" as const }));
  return [...sidecars, { pod: gatewayPod, namespace: systemNamespace, kind: "gateway" }];
}

const subject = (name: string): SubjectInput => ({ kind: "ServiceAccount", namespace, name });

function routeGroup(name: string): HttpRouteGroupInput {
  return aRouteGroup({
    name,
    matches: [
      { name: "read", pathRegex: `/${name}/items`, methods: ["GET"], headers: [] },
      { name: "write", pathRegex: `/${name}/items`, methods: ["POST", "PUT"], headers: [] },
      {
        name: "admin",
        pathRegex: `/${name}/admin(/.*)?$`,
        methods: [],
        headers: [{ name: "role", valueRegex: "admin" }],
      },
    ],
  });
}

/** `main` names the ingress; `more` is the one that is changed. */
function targetsOf(index: number, random: () => number): readonly TrafficTargetInput[] {
  const callers = () =>
    Array.from({ length: SOURCES_PER_TARGET }, () => subject(account(Math.floor(random() * SERVICES))));
  const name = account(index);
  const common = { destination: subject(name), rules: [{ kind: "HTTPRouteGroup", name, matches: ["read"] }] };
  return [
    aTarget({ ...common, name: `${name}-main`, sources: [subject(everywhere), ...callers()] }),
    aTarget({ ...common, name: `${name}-more`, sources: callers() }),
  ];
}

export function largeMesh(random: () => number): MeshInputs {
  const names = Array.from({ length: SERVICES }, (_, index) => account(index));
  const callable = names.map((name, index) => ({ name, ip: `10.${1 + (index >> 8)}.${index & 255}.1` }));
  const exported = names.slice(0, EXPORTED);
  return someInputs({
    meshNamespaces: [namespace],
    services: callable.map(({ name }, index) =>
      aService({ name, clusterIps: [`10.96.${index >> 8}.${index & 255}`], selector: { app: name } }),
    ),
    slices: callable.map(({ name, ip }) =>
      aSlice({ name: `${name}-abc`, service: name, endpoints: [anEndpoint({ address: ip, podName: podOf(name) })] }),
    ),
    pods: [...callable, { name: everywhere, ip: "10.200.0.1" }].map(({ name, ip }) =>
      aPod({
        name: podOf(name),
        uid: podOf(name),
        ip,
        serviceAccount: name,
        labels: { app: name },
        workloadName: name,
      }),
    ),
    exports: exported.map((name) => ({ namespace, name, createdAtMs: 2_000 })),
    trafficTargets: names.flatMap((_, index) => targetsOf(index, random)),
    httpRouteGroups: names.map(routeGroup),
    remote: [
      aGatewayRecord(),
      ...exported.flatMap((name) => [aServiceRecord({ name, serviceAccounts: [name] }), aCapacityRecord({ name })]),
    ],
    ownGateways: [{ host: "198.18.1.10", port: 15443 }],
  });
}

export type ChangeKind = "match" | "source added" | "source removed" | "target removed" | "target added";

export interface Change {
  readonly kind: ChangeKind;
  readonly inputs: MeshInputs;
  /** Pods whose configuration must change; nobody else's may. */
  readonly affected: ReadonlySet<string>;
}

function maySee(targets: readonly TrafficTargetInput[], destination: string): ReadonlySet<string> {
  const concerned = targets.filter((target) => target.destination.name === destination);
  return new Set(concerned.flatMap((target) => target.sources.map((source) => source.name)));
}

/** The server itself, and each caller with a stream that sees the service after the change and did not before, or the reverse. */
function affectedBy(before: MeshInputs, after: MeshInputs, destination: string): ReadonlySet<string> {
  const [saw, sees] = [before, after].map(({ trafficTargets }) => maySee(trafficTargets, destination)) as [
    ReadonlySet<string>,
    ReadonlySet<string>,
  ];
  const callers = [...new Set([...saw, ...sees])].filter((caller) => saw.has(caller) !== sees.has(caller));
  const withStream = new Set(streamOwners().map(({ pod }) => pod));
  return new Set([destination, ...callers].map(podOf).filter((pod) => withStream.has(pod)));
}

/** One TrafficTarget changed, as a watch event brings it: one record is another, all others are the same. */
function withTarget(
  inputs: MeshInputs,
  name: string,
  change: (target: TrafficTargetInput) => readonly TrafficTargetInput[],
): MeshInputs {
  return {
    ...inputs,
    trafficTargets: inputs.trafficTargets.flatMap((target) => (target.name === name ? change(target) : [target])),
  };
}

function stranger(inputs: MeshInputs, destination: string, random: () => number): string {
  const known = maySee(inputs.trafficTargets, destination);
  for (;;) {
    const name = account(Math.floor(random() * SIDECARS));
    if (!known.has(name) && name !== destination) return name;
  }
}

/** The next changes, one after the other: each kind in turn on a server that has a stream, the second undone by the third and so on. */
export function* changesOf(first: MeshInputs, random: () => number): Generator<Change, never> {
  let inputs = first;
  const step = (kind: ChangeKind, destination: string, after: MeshInputs): Change => {
    const before = inputs;
    inputs = after;
    return { kind, inputs, affected: affectedBy(before, after, destination) };
  };
  for (;;) {
    const name = account(Math.floor(random() * SIDECARS));
    const target = `${name}-more`;
    const original = inputs.trafficTargets.find((each) => each.name === target);
    if (original === undefined) throw new Error(`no target ${target}`);
    const matches = original.rules[0]?.matches.includes("write") === true ? ["read"] : ["read", "write"];
    const rules = [{ kind: "HTTPRouteGroup", name, matches }];
    const changed = { ...original, rules };
    const caller = subject(stranger(inputs, name, random));
    yield step(
      "match",
      name,
      withTarget(inputs, target, () => [changed]),
    );
    const wider = { ...changed, sources: [...changed.sources, caller] };
    yield step(
      "source added",
      name,
      withTarget(inputs, target, () => [wider]),
    );
    yield step(
      "source removed",
      name,
      withTarget(inputs, target, () => [changed]),
    );
    yield step(
      "target removed",
      name,
      withTarget(inputs, target, () => []),
    );
    yield step("target added", name, { ...inputs, trafficTargets: [...inputs.trafficTargets, changed] });
  }
}
