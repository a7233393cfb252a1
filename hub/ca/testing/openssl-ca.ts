// An operator with openssl and a root of their own: what docs/issuers.md tells them to run, and every mistake they may make.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseChainPem } from "../../../shared/pki/pem.ts";

export interface SigningChoice {
  readonly pathLength?: number;
  readonly basicConstraints?: string;
  readonly keyUsage?: string;
  readonly subjectAltName?: string;
  readonly days?: number;
  /** More lines of the extension file. */
  readonly extra?: readonly string[];
}

export interface OpensslCa {
  /** PEM, issuing CA first, root last. */
  sign(requestFile: string, choice?: SigningChoice): string;
  signText(requestPem: string, choice?: SigningChoice): string;
  signBelowIntermediate(requestFile: string): string;
  /** A good certificate for a key that nobody asked for. */
  signOtherKey(): string;
  rootDer(): Uint8Array;
}

const p256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

export function opensslCa(
  parent: string,
  { rootPathLength = 3 }: { readonly rootPathLength?: number } = {},
): OpensslCa {
  const folder = mkdtempSync(join(parent, "openssl-"));
  const openssl = (...args: readonly string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  const rootConstraints = `basicConstraints=critical,CA:TRUE,pathlen:${rootPathLength}`;
  const rootExtensions = ["-addext", rootConstraints, "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
  openssl("genpkey", ...p256, "-out", "root.key");
  openssl(
    "req",
    "-x509",
    "-new",
    "-key",
    "root.key",
    "-days",
    "3650",
    "-subj",
    "/O=acme/CN=root",
    ...rootExtensions,
    "-out",
    "root.pem",
  );

  const signWith = (ca: string, requestFile: string, choice: SigningChoice) => {
    writeFileSync(join(folder, "extensions"), `${extensionLines(choice).join("\n")}\n`);
    const by = ["-CA", `${ca}.pem`, "-CAkey", `${ca}.key`, "-CAcreateserial", "-days", String(choice.days ?? 365)];
    openssl("x509", "-req", "-in", requestFile, ...by, "-extfile", "extensions", "-out", "signed.pem");
    return read("signed.pem");
  };
  const request = (name: string) => {
    openssl("genpkey", ...p256, "-out", `${name}.key`);
    openssl("req", "-new", "-key", `${name}.key`, "-subj", `/O=acme/CN=${name}`, "-out", `${name}.csr`);
    return join(folder, `${name}.csr`);
  };
  const sign = (requestFile: string, choice: SigningChoice = {}) =>
    signWith("root", requestFile, choice) + read("root.pem");
  return {
    sign,
    signText: (requestPem, choice = {}) => {
      writeFileSync(join(folder, "asked.csr"), requestPem);
      return sign(join(folder, "asked.csr"), choice);
    },
    signBelowIntermediate: (requestFile) => {
      const middle = signWith("root", request("middle"), { pathLength: 2, subjectAltName: "" });
      writeFileSync(join(folder, "middle.pem"), middle);
      return signWith("middle", requestFile, {}) + middle + read("root.pem");
    },
    signOtherKey: () => sign(request("other")),
    rootDer: () => {
      const root = parseChainPem(read("root.pem"));
      if (!root.ok) throw new Error("openssl wrote no root");
      return root.value[0] ?? new Uint8Array();
    },
  };
}

function extensionLines(choice: SigningChoice): readonly string[] {
  const { pathLength = 1, subjectAltName = "URI:spiffe://acme.mesh" } = choice;
  return [
    `basicConstraints=${choice.basicConstraints ?? `critical,CA:TRUE,pathlen:${pathLength}`}`,
    `keyUsage=${choice.keyUsage ?? "critical,keyCertSign,cRLSign"}`,
    "subjectKeyIdentifier=hash",
    "authorityKeyIdentifier=keyid",
    ...(subjectAltName === "" ? [] : [`subjectAltName=${subjectAltName}`]),
    ...(choice.extra ?? []),
  ];
}
