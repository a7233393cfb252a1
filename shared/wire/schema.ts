// Which fields a message has: Envoy's own .proto files, parsed on first use of a type and compiled to field plans.
// Used by encode, decode and assignment in this folder. Files are found beside the installed packages, never through the
// working directory. A field that the packaged copy lacks comes from shared/proto/envoy-*.proto (see there).
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

/** Messages whose JSON form is not an object of their fields (protobuf.dev, "ProtoJSON format"). */
export type Form =
  "message" | "any" | "duration" | "timestamp" | "field-mask" | "struct" | "value" | "list-value" | "wrapper";

export interface MessagePlan {
  readonly name: string;
  readonly form: Form;
  readonly fields: ReadonlyMap<string, FieldPlan>;
  readonly byId: ReadonlyMap<number, FieldPlan>;
}

export interface EnumPlan {
  readonly name: string;
  readonly idOf: Readonly<Record<string, number>>;
  readonly nameOf: Readonly<Record<number, string>>;
}

export interface FieldPlan {
  readonly name: string;
  readonly id: number;
  /** A protobuf scalar type, or "enum", or "message". */
  readonly kind: string;
  readonly wireType: number;
  readonly shape: "single" | "repeated" | "packed" | "map";
  /** Scalar type of a map's keys, empty elsewhere. */
  readonly keyKind: string;
  /** False: the default value is the same as absence and is never written (canonical bytes). */
  readonly presence: boolean;
  readonly oneof: string | undefined;
  message(): MessagePlan;
  enumeration(): EnumPlan;
}

const require = createRequire(import.meta.url);
const protoDirectory = fileURLToPath(new URL("../proto", import.meta.url));
const envoyPackage = join(dirname(require.resolve("@grpc/grpc-js-xds/package.json")), "deps");
const includes: readonly string[] = [
  ...["envoy-api", "xds", "googleapis"].map((folder) => join(envoyPackage, folder)),
  dirname(require.resolve("protobufjs/package.json")),
];

/** Options only: nothing on the wire depends on them, and they are a third of the parsing. */
const annotations = /^(validate\/|udpa\/annotations\/|xds\/annotations\/|envoy\/annotations\/|google\/api\/(?!expr))/;

const forms: Readonly<Record<string, Form>> = {
  "google.protobuf.Any": "any",
  "google.protobuf.Duration": "duration",
  "google.protobuf.Timestamp": "timestamp",
  "google.protobuf.FieldMask": "field-mask",
  "google.protobuf.Struct": "struct",
  "google.protobuf.Value": "value",
  "google.protobuf.ListValue": "list-value",
};
const wrapper = /^google\.protobuf\.(Double|Float|U?Int(32|64)|Bool|String|Bytes)Value$/;

let root: protobuf.Root | undefined;
const plans = new Map<string, MessagePlan>();

/** The plan of a message by its full name, e.g. `envoy.config.cluster.v3.Cluster`. Throws on a name no .proto declares. */
export function messagePlan(name: string): MessagePlan {
  const known = plans.get(name);
  if (known !== undefined) return known;
  const plan = compile(name, findType(name));
  plans.set(name, plan);
  return plan;
}

function loadRoot(): protobuf.Root {
  if (root !== undefined) return root;
  const made = new protobuf.Root();
  made.resolvePath = (_origin, target) => {
    if (annotations.test(target)) return null;
    return includes.map((folder) => join(folder, target)).find((path) => existsSync(path)) ?? target;
  };
  for (const file of readdirSync(protoDirectory).filter((name) => /^envoy-.*\.proto$/.test(name))) {
    made.loadSync(join(protoDirectory, file), { keepCase: true });
  }
  root = made;
  return made;
}

function findType(name: string): protobuf.Type {
  const types = loadRoot();
  const loaded = lookup(types, name);
  if (loaded !== undefined) return loaded;
  const file = fileOf(name);
  if (file === undefined) throw new Error(`no .proto declares the message ${name}`);
  types.loadSync(file, { keepCase: true });
  const found = lookup(types, name);
  if (found === undefined) throw new Error(`${file} does not declare the message ${name}`);
  return found;
}

/** Root.lookup would accept a partial match in a parent namespace; a name here is full. */
function lookup(types: protobuf.Root, name: string): protobuf.Type | undefined {
  const found = types.lookup(name.split("."), [protobuf.Type], false);
  return found instanceof protobuf.Type && found.fullName === `.${name}` ? found : undefined;
}

/** A package is a folder in Envoy's tree; the file of a message is the one with its declaration. */
function fileOf(name: string): string | undefined {
  const segments = name.split(".");
  const declaration = new RegExp(`^message ${segments.at(-1) ?? ""} `, "m");
  const folder = segments.slice(0, -1).join("/");
  for (const include of includes) {
    const path = join(include, folder);
    if (!existsSync(path)) continue;
    const file = readdirSync(path).find(
      (entry) => entry.endsWith(".proto") && declaration.test(readFileSync(join(path, entry), "utf8")),
    );
    if (file !== undefined) return `${folder}/${file}`;
  }
  return undefined;
}

function compile(name: string, type: protobuf.Type): MessagePlan {
  const additions = lookup(loadRoot(), `isthmus.additions.${name}`)?.fieldsArray ?? [];
  const fields = [...type.fieldsArray, ...additions].map(fieldPlan).sort((a, b) => a.id - b.id);
  return {
    name,
    form: forms[name] ?? (wrapper.test(name) ? "wrapper" : "message"),
    fields: new Map(fields.map((field) => [field.name, field])),
    byId: new Map(fields.map((field) => [field.id, field])),
  };
}

function fieldPlan(declared: protobuf.Field): FieldPlan {
  const field = declared.resolve();
  const target = field.resolvedType;
  const kind = target === null ? field.type : target instanceof protobuf.Enum ? "enum" : "message";
  let message: MessagePlan | undefined;
  let enumeration: EnumPlan | undefined;
  return {
    name: field.name,
    id: field.id,
    kind,
    wireType: kind === "enum" ? 0 : wireTypeOf(kind),
    shape: shapeOf(field, kind),
    keyKind: field instanceof protobuf.MapField ? field.keyType : "",
    presence: Boolean((field as { hasPresence?: unknown }).hasPresence),
    oneof: field.partOf === null || field.partOf.name.startsWith("_") ? undefined : field.partOf.name,
    message: () => (message ??= planOfType(field)),
    enumeration: () => (enumeration ??= planOfEnum(field)),
  };
}

/** Of a scalar; a message is length-delimited like a string. */
export function wireTypeOf(kind: string): number {
  return (protobuf.types.basic as Readonly<Record<string, number>>)[kind] ?? 2;
}

function shapeOf(field: protobuf.Field, kind: string): FieldPlan["shape"] {
  if (field.map) return "map";
  if (!field.repeated) return "single";
  const packable = kind === "enum" || (kind in protobuf.types.packed && kind !== "message");
  return packable && field.packed ? "packed" : "repeated";
}

function planOfType(field: protobuf.Field): MessagePlan {
  if (!(field.resolvedType instanceof protobuf.Type)) throw new Error(`${field.fullName} is not a message`);
  return messagePlan(field.resolvedType.fullName.slice(1));
}

function planOfEnum(field: protobuf.Field): EnumPlan {
  if (!(field.resolvedType instanceof protobuf.Enum)) throw new Error(`${field.fullName} is not an enum`);
  const { values, valuesById, fullName } = field.resolvedType;
  return { name: fullName.slice(1), idOf: values, nameOf: valuesById };
}
