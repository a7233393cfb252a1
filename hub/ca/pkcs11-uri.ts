// Where a PKCS#11 token is, as RFC 7512 writes it: pkcs11:token=LABEL?module-path=/lib/x.so&pin-source=file:/etc/isthmus/pin
// Pure. Read once from the command line of `isthmus init`, afterwards from fleet.json.
import { ok, rejected, type Result } from "../../shared/result.ts";

export interface Pkcs11Place {
  readonly tokenLabel: string;
  /** The vendor's library. */
  readonly modulePath: string;
  /** File that holds the user PIN, readable by the hub's user only. */
  readonly pinFile: string;
}

const example = "pkcs11:token=LABEL?module-path=/path/to/library.so&pin-source=file:/path/to/pin";

export function parsePkcs11Uri(text: string): Result<Pkcs11Place> {
  const found = /^pkcs11:([^?#]*)\?([^#]*)$/.exec(text);
  if (found === null) return refused(`it is written like ${example}`);
  const path = attributes(found[1] ?? "", ";");
  const query = attributes(found[2] ?? "", "&");
  if (path === undefined || query === undefined) return refused("an attribute is not NAME=VALUE, percent-encoded");
  return checkedPlace(path, query);
}

type Attributes = ReadonlyMap<string, string>;

function checkedPlace(path: Attributes, query: Attributes): Result<Pkcs11Place> {
  if (query.has("pin-value")) return refused("pin-value would be in argv and fleet.json: use pin-source=file:/path");
  const unknown = [...path.keys()].filter((name) => name !== "token");
  unknown.push(...[...query.keys()].filter((name) => name !== "module-path" && name !== "pin-source"));
  if (unknown.length > 0) return refused(`unknown here: ${unknown.join(", ")}; it is written like ${example}`);
  const [tokenLabel, modulePath] = [path.get("token") ?? "", query.get("module-path") ?? ""];
  const pinFile = (query.get("pin-source") ?? "").replace(/^file:(\/\/)?/, "");
  if (tokenLabel === "") return refused("token=LABEL is missing");
  if (!modulePath.startsWith("/")) return refused("module-path is no absolute path");
  if (!pinFile.startsWith("/")) return refused("pin-source is no absolute path (file:/...)");
  return ok({ tokenLabel, modulePath, pinFile });
}

function refused(message: string): Result<Pkcs11Place> {
  return rejected("ISTHMUS_PKCS11_URI", message, "keys");
}

/** Undefined: one of them is malformed or occurs twice. */
function attributes(text: string, separator: string): Attributes | undefined {
  const found = new Map<string, string>();
  for (const part of text.split(separator)) {
    const equals = part.indexOf("=");
    const value = equals < 1 ? undefined : decoded(part.slice(equals + 1));
    const name = part.slice(0, equals);
    if (value === undefined || found.has(name)) return undefined;
    found.set(name, value);
  }
  return found;
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
