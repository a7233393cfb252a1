// Random small meshes for property tests: few names, so that objects meet, conflict and dangle often.
import fc from "fast-check";
import type { BoundInput, MeshInputs } from "../inputs.ts";
import {
  aBinding,
  aCapacityRecord,
  aGatewayRecord,
  anEndpoint,
  aPod,
  aPort,
  aRouteGroup,
  aService,
  aServiceRecord,
  aSlice,
  aTarget,
  aTcpRoute,
  someInputs,
} from "./objects.ts";

const namespace = fc.constantFrom("shop", "bank");
const name = fc.constantFrom("cart", "web", "db");
const cluster = fc.constantFrom("west", "north", "Not A Name");
const port = fc.record({
  name: fc.constantFrom("", "http", "grpc-api", "tcp-server-first-db"),
  port: fc.constantFrom(80, 90),
  targetPort: fc.constantFrom<(number | string)[]>(8080, "web"),
  appProtocol: fc.constantFrom("", "tcp", "mysql"),
});

function uniqueByName<T extends { namespace: string; name: string }>(objects: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.uniqueArray(objects, { selector: (object) => `${object.namespace}/${object.name}`, maxLength: 6 });
}

const service = fc
  .record({
    namespace,
    name,
    type: fc.constantFrom("ClusterIP", "Headless", "ExternalName"),
    selector: fc.constantFrom<Record<string, string>[]>({}, { app: "cart" }, { app: "cart", track: "new" }),
    ports: fc.uniqueArray(port.map(aPort), { selector: ({ name: portName }) => portName, maxLength: 2 }),
    importOf: fc.constantFrom("", "", "shop/web"),
  })
  .map(aService);

const endpoint = fc
  .record({
    address: fc.constantFrom("10.244.0.5", "10.244.0.6", "fd00::5", "host.example"),
    podName: fc.constantFrom("", "cart-1", "cart-2", "gone"),
    ready: fc.boolean(),
    serving: fc.boolean(),
    terminating: fc.boolean(),
  })
  .map(anEndpoint);

const slice = fc
  .record({
    namespace,
    name: fc.constantFrom("s1", "s2", "s3"),
    service: name,
    ports: fc.uniqueArray(
      fc.record({ name: fc.constantFrom("", "http", "grpc-api"), port: fc.constantFrom(8080, 9090) }),
      {
        selector: (each) => each.name,
        maxLength: 2,
      },
    ),
    endpoints: fc.array(endpoint, { maxLength: 4 }),
  })
  .map(aSlice);

/** Absent on Kubernetes. */
function maybe<K extends string, T>(key: K, ...values: readonly T[]): fc.Arbitrary<Partial<Record<K, T>>> {
  return fc.constantFrom<Partial<Record<K, T>>[]>({}, ...values.map((value) => ({ [key]: value }) as Record<K, T>));
}

const bound = maybe<"bound", BoundInput>("bound", aBinding(), aBinding({ lowestPort: 1 }));

const pod = fc
  .record({
    namespace,
    name: fc.constantFrom("cart-1", "cart-2", "web-1"),
    ip: fc.constantFrom("", "10.244.0.5", "10.244.0.6"),
    serviceAccount: name,
    labels: fc.constantFrom<Record<string, string>[]>({ app: "cart" }, { app: "cart", track: "new" }, {}),
    meshed: fc.boolean(),
    ready: fc.boolean(),
    bound,
  })
  .map(({ bound: binding, ...fields }) => aPod({ ...fields, ...binding }));

const subject = fc.record({ kind: fc.constantFrom("ServiceAccount", "ServiceAccount", "Group"), namespace, name });
const target = fc
  .record({
    namespace,
    name,
    destination: subject,
    sources: fc.array(subject, { maxLength: 2 }),
    rules: fc.array(
      fc.record({
        kind: fc.constantFrom("HTTPRouteGroup", "TCPRoute", "UDPRoute"),
        name,
        matches: fc.subarray(["read", "write", "sql"]),
      }),
      { maxLength: 3 },
    ),
    sourceClusters: fc.subarray(["*", "west", "No!"]),
  })
  .map(aTarget);

const remote = fc.oneof(
  fc
    .record({
      cluster,
      namespace,
      name,
      exportedAtMs: fc.constantFrom(1000, 2000),
      type: fc.constantFrom("ClusterSetIP", "Headless"),
    })
    .map(aServiceRecord),
  fc.record({ cluster, namespace, name }).map(aCapacityRecord),
  fc.record({ cluster }).map(aGatewayRecord),
);

export const anyInputs: fc.Arbitrary<MeshInputs> = fc
  .record({
    meshNamespaces: fc.subarray(["shop", "bank"]),
    services: uniqueByName(service),
    slices: uniqueByName(slice),
    pods: uniqueByName(pod),
    exports: uniqueByName(fc.record({ namespace, name, createdAtMs: fc.constantFrom(1000, 2000) })),
    trafficTargets: uniqueByName(target),
    httpRouteGroups: uniqueByName(fc.record({ namespace, name }).map(aRouteGroup)),
    tcpRoutes: uniqueByName(
      fc
        .record({
          namespace,
          name,
          matches: fc.constantFrom([], [{ name: "sql", ports: [80, 90] }], [{ name: "read", ports: [] }]),
        })
        .map(aTcpRoute),
    ),
    remote: fc.uniqueArray(remote, {
      selector: (record) =>
        `${record.cluster} ${record.kind} ${record.kind === "gateway" ? "" : `${record.namespace}/${record.name}`}`,
      maxLength: 8,
    }),
    revokedTrustDomains: fc.subarray(["west.acme.mesh"]),
    bind: maybe("gatewayBind", { host: "127.0.0.1", port: 15443 }, { host: "127.0.0.1", port: 25443 }),
  })
  .map(({ bind, ...fields }) => someInputs({ ...fields, ...bind }));

/** The same mesh with every list in another order. */
export function shuffled(inputs: MeshInputs): fc.Arbitrary<MeshInputs> {
  const shuffle = <T>(list: readonly T[]) =>
    fc.shuffledSubarray([...list], { minLength: list.length, maxLength: list.length });
  return fc
    .record({
      meshNamespaces: shuffle(inputs.meshNamespaces),
      services: shuffle(inputs.services),
      slices: shuffle(inputs.slices),
      pods: shuffle(inputs.pods),
      exports: shuffle(inputs.exports),
      trafficTargets: shuffle(inputs.trafficTargets),
      httpRouteGroups: shuffle(inputs.httpRouteGroups),
      tcpRoutes: shuffle(inputs.tcpRoutes),
      remote: shuffle(inputs.remote),
    })
    .map((lists) => ({ ...inputs, ...lists }));
}
