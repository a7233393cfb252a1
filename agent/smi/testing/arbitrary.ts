// Random SMI objects of every kind and version, as an API server would hand them on after its schema: few names, many of
// the forms in which people write the same thing.
import fc from "fast-check";
import type { JsonObject } from "../../kube/json.ts";
import { smiKinds, type SmiKind, type SmiKindName } from "../versions.ts";

const name = fc.constantFrom("cart", "web", "read", "write");
const port = fc.integer({ min: 1, max: 65_535 });
const subject = fc.record(
  { kind: fc.constant("ServiceAccount"), name, namespace: fc.constantFrom("shop", "bank") },
  { requiredKeys: ["kind", "name"] },
);
const rule = fc.record(
  { kind: fc.constantFrom("HTTPRouteGroup", "TCPRoute"), name, matches: fc.array(name, { maxLength: 3 }) },
  { requiredKeys: ["kind", "name"] },
);
const value = fc.constantFrom(".*", "a|b", "[0-9]+", "");
const headerMap = fc.dictionary(fc.constantFrom("host", "x-user", "X-Tenant"), value, { maxKeys: 3 });
const headers = fc.oneof(headerMap, fc.array(headerMap, { maxLength: 3 }));
const matchFields = {
  name,
  pathRegex: fc.constantFrom("/", "/cart.*", "/[a-z]+"),
  methods: fc.array(fc.constantFrom("*", "GET", "POST"), { maxLength: 2 }),
};
const bareMatch = fc.record(matchFields, { requiredKeys: ["name"] });
const headedMatch = fc.record({ ...matchFields, headers }, { requiredKeys: ["name"] });
const weight = fc.constantFrom(0, 1, 10, 90, 1_000);
const quantity = fc.constantFrom<unknown[]>(0, 1, 90, "0", "1", "10", "500m", "0.5", "1k", "2Ki", "250000u");

function backends(of: fc.Arbitrary<unknown>): fc.Arbitrary<JsonObject[]> {
  return fc.array(fc.record({ service: name, weight: of }), { minLength: 1, maxLength: 4 });
}
const splitMatches = fc.array(
  fc.record(
    { kind: fc.constant("HTTPRouteGroup"), name, apiGroup: fc.constant("specs.smi-spec.io") },
    { requiredKeys: ["kind", "name"] },
  ),
  { minLength: 1, maxLength: 3 },
);

function spec(fields: fc.Arbitrary<JsonObject>): fc.Arbitrary<JsonObject> {
  return fields.map((inside) => ({ spec: inside }));
}

const targetFields = { destination: subject, sources: fc.array(subject, { maxLength: 3 }) };
const portedSubject = fc
  .tuple(subject, fc.option(port, { nil: undefined }))
  .map(([fields, given]): JsonObject => (given === undefined ? fields : { ...fields, port: given }));
const rules = fc.array(rule, { maxLength: 3 });
const tcpMatch = fc.record({ name, ports: fc.array(port, { maxLength: 3 }) }, { requiredKeys: [] });

const bodies: { readonly [K in SmiKindName]: Readonly<Record<string, fc.Arbitrary<JsonObject>>> } = {
  TrafficTarget: {
    v1alpha1: fc.record({ ...targetFields, destination: portedSubject, specs: rules }),
    v1alpha2: spec(fc.record({ ...targetFields, destination: portedSubject, rules })),
    v1alpha3: spec(fc.record({ ...targetFields, rules })),
  },
  HTTPRouteGroup: {
    v1alpha1: fc.record({ matches: fc.array(bareMatch, { maxLength: 4 }) }),
    v1alpha2: fc.record({ matches: fc.array(headedMatch, { maxLength: 4 }) }),
    v1alpha3: spec(fc.record({ matches: fc.array(headedMatch, { maxLength: 4 }) })),
    v1alpha4: spec(fc.record({ matches: fc.array(headedMatch, { maxLength: 4 }) })),
  },
  TCPRoute: {
    v1alpha1: fc.constant({}),
    v1alpha2: fc.constant({}),
    v1alpha3: fc.constant({ spec: {} }),
    v1alpha4: fc.oneof(fc.constant({ spec: {} }), spec(fc.record({ matches: tcpMatch.filter(hasFields) }))),
  },
  UDPRoute: { v1alpha4: spec(fc.record({ matches: tcpMatch })) },
  TrafficSplit: {
    v1alpha1: spec(fc.record({ service: name, backends: backends(quantity) })),
    v1alpha2: spec(fc.record({ service: name, backends: backends(weight) })),
    v1alpha3: spec(
      fc.record(
        { service: name, backends: backends(weight), matches: splitMatches },
        { requiredKeys: ["service", "backends"] },
      ),
    ),
    v1alpha4: spec(
      fc.record(
        { service: name, backends: backends(weight), matches: splitMatches },
        { requiredKeys: ["service", "backends"] },
      ),
    ),
  },
};

function hasFields(map: object): boolean {
  return Object.keys(map).length > 0;
}

const metadata = fc.record(
  {
    namespace: fc.constant("shop"),
    name,
    uid: fc.uuid(),
    creationTimestamp: fc.constant("2026-01-01T00:00:00Z"),
    labels: fc.constant({ team: "blue" }),
    annotations: fc.constantFrom<Record<string, string>[]>({ note: "mine" }, { "isthmus.dev/source-clusters": "*" }),
  },
  { requiredKeys: ["namespace", "name", "uid", "creationTimestamp"] },
);
const status = fc.constantFrom<JsonObject[]>({}, { status: { conditions: [{ type: "Accepted", status: "True" }] } });

/** A kind and one of its objects, in any of its versions. */
export const anySmiObject: fc.Arbitrary<JsonObject> = fc.oneof(
  ...(Object.keys(bodies) as SmiKindName[]).flatMap((kind) => {
    const { group }: SmiKind = smiKinds[kind];
    return Object.entries(bodies[kind]).map(([version, body]) =>
      fc.tuple(metadata, body, status).map(([names, fields, told]) => ({
        apiVersion: `${group}/${version}`,
        kind,
        metadata: names,
        ...fields,
        ...told,
      })),
    );
  }),
);
