// The JSON side of a message: its types, and the error that says where in it something is wrong.
// Structurally the same types as agent/xds/resource.ts, which shared code must not import.

export type JsonMessage = { readonly [field: string]: JsonValue };
export type JsonValue = string | number | boolean | null | JsonMessage | readonly JsonValue[];

/** Where a value stands, as a linked list: a path costs nothing until something is wrong. */
export interface At {
  readonly up: At | undefined;
  readonly step: string | number;
}

export function below(up: At | undefined, step: string | number): At {
  return { up, step };
}

/** A value that no Envoy would take: a fault of a translator, so it is thrown, with the field's path. */
export class WireError extends Error {
  readonly path: string;

  constructor(at: At | undefined, message: string) {
    const path = pathOf(at);
    super(path === "" ? message : `${path}: ${message}`);
    this.name = "WireError";
    this.path = path;
  }
}

function pathOf(at: At | undefined): string {
  let path = "";
  for (let here = at; here !== undefined; here = here.up) {
    path = typeof here.step === "number" ? `[${here.step}]${path}` : `.${here.step}${path}`;
  }
  return path.replace(/^\./, "");
}

export function isMessage(value: JsonValue): value is JsonMessage {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `type.googleapis.com/a.b.C` names the message `a.b.C`. */
export function messageNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
}
