// `<data>/issuers.json`: where the upstream issuers are. Written by a person, so every mistake is named. Pure but for reading.
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { fileExists, readSecretFile } from "../../shared/pki/secret-file.ts";
import { err, ok, type Problem, type Result } from "../../shared/result.ts";

export interface VaultPlace {
  readonly address: string;
  /** Authority of Vault's own certificate, PEM; absent: the system's. */
  readonly caFile?: string;
  /** Of the PKI secrets engine; absent: `pki`. */
  readonly mount?: string;
  /** Vault Enterprise and OpenBao. */
  readonly namespace?: string;
  /** Life of the issuing CA, as Vault writes it; absent: `2160h`. */
  readonly ttl?: string;
  /** A file, because an agent renews it; or the hub's service account. */
  readonly tokenFile?: string;
  readonly kubernetes?: { readonly role: string; readonly mount?: string; readonly tokenFile?: string };
}

export interface CertManagerPlace {
  readonly namespace: string;
  readonly issuer: { readonly name: string; readonly kind?: string; readonly group?: string };
  /** Life of the issuing CA, as Go writes it; absent: `2160h`. */
  readonly duration?: string;
  /** The three of them absent: the cluster in which the hub runs, by its service account. */
  readonly server?: string;
  readonly caFile?: string;
  readonly tokenFile?: string;
}

export interface IssuersFile {
  readonly vault?: VaultPlace;
  readonly certManager?: CertManagerPlace;
}

type Shape = { readonly [field: string]: "text" | "text?" | Shape };

const vaultShape: Shape = {
  address: "text",
  caFile: "text?",
  mount: "text?",
  namespace: "text?",
  ttl: "text?",
  tokenFile: "text?",
};
const kubernetesShape: Shape = { role: "text", mount: "text?", tokenFile: "text?" };
const certManagerShape: Shape = {
  namespace: "text",
  issuer: { name: "text", kind: "text?", group: "text?" },
  duration: "text?",
  server: "text?",
  caFile: "text?",
  tokenFile: "text?",
};

export const issuersFilePath = (dataDir: string): string => join(dataDir, "issuers.json");

/** An absent file names no issuer. Throws UserError ISTHMUS_ISSUERS_FILE. */
export async function readIssuersFile(dataDir: string): Promise<IssuersFile> {
  const path = issuersFilePath(dataDir);
  if (!(await fileExists(path))) return {};
  const parsed = parseIssuers(await readSecretFile(path));
  if (parsed.ok) return parsed.value;
  const reasons = parsed.error.map(({ field, message }) => `${field ?? "file"}: ${message}`).join("; ");
  throw new UserError("ISTHMUS_ISSUERS_FILE", `${path}: ${reasons}`, { hint: "docs/issuers.md shows one" });
}

export function parseIssuers(text: string): Result<IssuersFile> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return err([mistake("file", "no JSON")]);
  }
  if (!isObject(value)) return err([mistake("file", "no JSON object")]);
  const problems = [...unknownFields(value, ["vault", "certManager"], ""), ...vaultProblems(value["vault"])];
  if (value["certManager"] !== undefined)
    problems.push(...shapeProblems(value["certManager"], certManagerShape, "certManager"));
  return problems.length === 0 ? ok(value) : err(problems);
}

function vaultProblems(vault: unknown): readonly Problem[] {
  if (vault === undefined) return [];
  if (!isObject(vault)) return [mistake("vault", "no object")];
  const { kubernetes, ...rest } = vault;
  const problems = [...shapeProblems(rest, vaultShape, "vault")];
  if (kubernetes !== undefined) problems.push(...shapeProblems(kubernetes, kubernetesShape, "vault.kubernetes"));
  if ((kubernetes === undefined) === (vault["tokenFile"] === undefined)) {
    problems.push(mistake("vault", "exactly one of tokenFile and kubernetes says how the hub logs in"));
  }
  return problems;
}

function shapeProblems(value: unknown, shape: Shape, at: string): readonly Problem[] {
  if (!isObject(value)) return [mistake(at, "no object")];
  const found = Object.entries(shape).flatMap(([field, wanted]) => {
    const [given, path] = [value[field], `${at}.${field}`];
    if (typeof wanted === "object") return shapeProblems(given, wanted, path);
    if (given === undefined) return wanted === "text" ? [mistake(path, "missing")] : [];
    return typeof given === "string" && given !== "" ? [] : [mistake(path, "no text")];
  });
  return [...found, ...unknownFields(value, Object.keys(shape), at)];
}

function unknownFields(value: Record<string, unknown>, known: readonly string[], at: string): readonly Problem[] {
  const unknown = Object.keys(value).filter((field) => !known.includes(field));
  return unknown.map((field) =>
    mistake(at === "" ? field : `${at}.${field}`, `unknown; known are ${known.join(", ")}`),
  );
}

function mistake(field: string, message: string): Problem {
  return { code: "ISTHMUS_ISSUERS_FILE", field, message };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
