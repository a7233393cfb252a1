// Manifest files: what is read, what is said of mistakes, and what stays in force.
import { describe, expect, it } from "vitest";
import { readManifestFile, type ManifestFile } from "./manifest-file.ts";
import { collectObjects, located, noObjects } from "./site-objects.ts";
import { exportManifest, workloadManifest } from "./testing/site-folder.ts";

const read = (text: string, last?: ManifestFile) => readManifestFile("shop.yaml", text, last);
const said = ({ problems }: ManifestFile) => problems.map(({ message }) => message);
const named = ({ objects }: ManifestFile) => objects.map(({ object }) => `${object.kind} ${object.record?.name ?? ""}`);

const service = `apiVersion: v1
kind: Service
metadata:
  name: cart
spec:
  clusterIP: None
  selector: { app: cart }
  ports:
    - port: 80
      targetPort: http
`;

/** As an item of a List: two deeper. */
const item = (manifest: string) => manifest.replace(/^/, "  - ").replaceAll(/\n(?=.)/g, "\n    ");

describe("a manifest file", () => {
  it("gives the records that a cluster would give, with an API server's defaults", () => {
    const { objects, problems } = read(`${service}---\n${exportManifest("cart")}`);
    expect(problems).toEqual([]);
    expect(objects.map(({ object }) => object.record)).toMatchObject([
      {
        namespace: "default",
        name: "cart",
        type: "Headless",
        ports: [{ port: 80, targetPort: "http", protocol: "TCP" }],
      },
      { namespace: "shop", name: "cart", createdAtMs: 0 },
    ]);
  });

  it.each<[string, string, string]>([
    ["no YAML", "kind: [unclosed\n", "shop.yaml:2: not YAML:"],
    ["a key that is there twice", "kind: A\nkind: B\n", "shop.yaml:2: not YAML:"],
    ["an alias bomb", bomb(), "shop.yaml:1: Excessive alias count"],
    ["no object", "just a text\n", "shop.yaml:1: expected an object with apiVersion, kind and metadata"],
    ["no kind", "metadata: {name: a}\n", 'shop.yaml:1: kind "" is left out: a site reads Namespace, Service'],
    ["a kind that nobody reads", `apiVersion: v1\nkind: Pod\n`, 'shop.yaml:2: kind "Pod" is left out'],
    [
      "a version that nobody reads",
      "kind: TCPRoute\napiVersion: specs.smi-spec.io/v1alpha5\n",
      'shop.yaml:2: TCPRoute of "specs.smi-spec.io/v1alpha5" is left out: expected apiVersion specs.smi-spec.io/v1alpha4 or specs.smi-spec.io/v1alpha3',
    ],
    [
      "a rule of the first version of SMI",
      "apiVersion: access.smi-spec.io/v1alpha1\nkind: TrafficTarget\nmetadata: { name: a }\n" +
        "destination: { kind: ServiceAccount, name: a }\nsources: []\nspecs:\n  - kind: TCPRoute\n    name: A_b\n",
      "shop.yaml:8: spec.rules[0].name must be an object name",
    ],
    [
      "a List, in the second of its objects",
      `apiVersion: v1\nkind: List\nitems:\n${item(service)}${item(service.replace("port: 80", "port: 0"))}`,
      "shop.yaml:22: spec.ports[0].port must be a whole number",
    ],
    [
      "a List, in an object without a name",
      "apiVersion: v1\nkind: ServiceList\nitems:\n  - metadata: { name: a }\n    spec: { ports: [] }\n  - metadata: { labels: {} }\n",
      "shop.yaml:6: metadata.name is missing",
    ],
    ["a List in JSON", '{ "kind": "List",\n "items": [\n  7 ] }', "shop.yaml:3: expected an object with apiVersion"],
    ["a List without objects", "apiVersion: v1\nkind: List\n", 'shop.yaml:2: kind "List" is left out'],
    ["no name", "apiVersion: v1\nkind: Service\nmetadata:\n  labels: {}\n", "shop.yaml:3: metadata.name is missing"],
    [
      "a port that is a text",
      service.replace("port: 80", 'port: "80"'),
      "shop.yaml:9: spec.ports[0].port must be a whole number from 1 to 65535",
    ],
    [
      "a port that is none",
      service.replace("port: 80", "port: 70000"),
      "shop.yaml:9: spec.ports[0].port must be a whole number",
    ],
    [
      "a workload without an account",
      workloadManifest("cart").replace(/ {2}serviceAccount.*\n/, ""),
      "shop.yaml:4: spec.serviceAccount is missing",
    ],
    [
      "an address that is none",
      workloadManifest("cart", "  addresses: [here]\n"),
      "shop.yaml:9: spec.addresses[0] must be an IP address",
    ],
    [
      "a health check of two kinds",
      workloadManifest("cart", "  healthCheck: { tcp: true, path: /, port: 1 }\n"),
      "shop.yaml:9: spec.healthCheck must have either path or tcp: true",
    ],
    [
      "an application that is no address",
      workloadManifest("cart").replace("127.0.0.1:9090", "localhost:9090"),
      "shop.yaml:8: spec.ports[0].application must be IP:PORT, such as 127.0.0.1:9090",
    ],
    [
      "a port that is there twice",
      workloadManifest("cart", "    - { name: more, port: 8080 }\n"),
      "shop.yaml:9: spec.ports[1].port 8080 is there twice",
    ],
    [
      "a user with a space",
      workloadManifest("cart", '  user: "a b"\n'),
      "shop.yaml:9: spec.user must be the name or the number of a user",
    ],
    [
      "the agent's own namespace",
      workloadManifest("isthmus-gateway").replace("namespace: shop", "namespace: isthmus-system"),
      "shop.yaml:3: metadata.namespace is the agent's own; choose another",
    ],
  ])("says with file and line what was expected: %s", (_what, text, message) => {
    expect(said(read(text))[0]).toContain(message);
  });

  it("that turns bad keeps meaning what it meant, and means something else once it is mended", () => {
    const good = read(workloadManifest("cart"));
    const bad = read(workloadManifest("cart").replace("port: 8080", "port: none"), good);
    expect([named(bad), bad.good, bad.problems.length]).toEqual([["Workload cart"], false, 1]);
    const mended = read(workloadManifest("basket"), bad);
    expect([named(mended), mended.problems]).toEqual([["Workload basket"], []]);
  });

  it("that an editor has just emptied withdraws nothing", () => {
    const empty = read("", read(workloadManifest("cart")));
    expect([named(empty), said(empty)]).toEqual([
      ["Workload cart"],
      ["shop.yaml:1: is empty; delete the file to withdraw what was in it"],
    ]);
  });

  it("with a kind that nobody reads gives everything else in it", () => {
    const file = read(`apiVersion: v1\nkind: ConfigMap\n---\n${workloadManifest("cart")}`);
    expect([named(file), file.good]).toEqual([["Workload cart"], true]);
  });

  it("that was bad from the start gives what can be read of it", () => {
    const file = read(`${service.replace("port: 80", "port: none")}---\n${workloadManifest("cart")}`);
    expect([named(file), file.good]).toEqual([["Workload cart"], false]);
  });

  it("means the same in every version of SMI", () => {
    const head = (apiVersion: string) =>
      `apiVersion: access.smi-spec.io/${apiVersion}\nkind: TrafficTarget\nmetadata: { name: cart, namespace: shop }\n`;
    const destination = "destination: { kind: ServiceAccount, name: cart }";
    const rest = "sources: [{ kind: ServiceAccount, name: web }]";
    const rules = "[{ kind: TCPRoute, name: sql }]";
    const [oldest, newest] = [
      read(`${head("v1alpha1")}${destination}\n${rest}\nspecs: ${rules}\n`),
      read(`${head("v1alpha3")}spec:\n  ${destination}\n  ${rest}\n  rules: ${rules}\n`),
    ];
    expect(oldest.problems).toEqual([]);
    expect(oldest.objects[0]?.object).toEqual(newest.objects[0]?.object);
  });

  it("whose text means the same gives the same records", () => {
    const before = read(workloadManifest("cart"));
    const after = read(`# a comment\n${workloadManifest("cart")}`, before);
    expect(after.objects[0]?.object.record).toBe(before.objects[0]?.object.record);
  });
});

describe("a List", () => {
  it("is its objects, each with a line of its own", () => {
    const list = read(`apiVersion: v1\nkind: List\nitems:\n${item(service)}${item(exportManifest("cart"))}`);
    expect(list.problems).toEqual([]);
    expect(named(list)).toEqual(["Service cart", "ServiceExport cart"]);
    expect(list.objects.map(({ line }) => line)).toEqual([5, 15]);
  });

  it("of one kind says kind and version for all", () => {
    const text = "apiVersion: v1\nkind: ServiceList\nitems:\n  - metadata: { name: a }\n    spec: { ports: [] }\n";
    expect(named(read(text))).toEqual(["Service a"]);
    expect(named(read("apiVersion: v1\nkind: ServiceList\nitems: []\n"))).toEqual([]);
  });

  it("with a mistake in one object changes none of them", () => {
    const good = read(`apiVersion: v1\nkind: List\nitems:\n${item(service)}${item(exportManifest("cart"))}`);
    const bad = read(good.text.replace("port: 80", "port: no"), good);
    expect(bad.good).toBe(false);
    expect(bad.objects).toBe(good.objects);
  });
});

describe("all files together", () => {
  const first = readManifestFile("a.yaml", workloadManifest("cart"), undefined);
  const second = readManifestFile("b.yaml", `${exportManifest("cart")}---\n${workloadManifest("cart")}`, undefined);

  it("have one workload of a name: the first file's, and the other's author reads where both are", () => {
    const { records, problems } = collectObjects([first, second], noObjects);
    expect(records.Workload).toEqual([first.objects[0]?.object.record]);
    expect(problems).toMatchObject([
      {
        code: "ISTHMUS_MANIFEST_TWICE",
        message:
          "b.yaml:6: Workload shop/cart is declared in a.yaml:2 already; that one is in force: rename one of them",
      },
    ]);
  });

  it("give the same lists as long as nothing in them changed", () => {
    const before = collectObjects([first, second], noObjects);
    const after = collectObjects([first, second], before);
    expect(after.records.Workload).toBe(before.records.Workload);
    expect(after.records.ServiceExport).toBe(before.records.ServiceExport);
  });

  it("place a problem of the mesh at the line of its field", () => {
    const { places } = collectObjects([first], noObjects);
    const object = { kind: "Workload", namespace: "shop", name: "cart" };
    const problem = { code: "X", message: "is wrong", object, field: "spec.ports[0].port" };
    expect(located(places, problem).message).toBe("a.yaml:8: is wrong");
    expect(located(places, { ...problem, object: { ...object, name: "other" } }).message).toBe("is wrong");
  });
});

function bomb(): string {
  const levels = Array.from({ length: 9 }, (_, level) => {
    const items = Array.from({ length: 9 }, () => (level === 0 ? "x" : `*l${level - 1}`)).join(", ");
    return `l${level}: &l${level} [${items}]`;
  });
  return `${levels.join("\n")}\n`;
}
