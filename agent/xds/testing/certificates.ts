// Certificates for tests on real Envoys, by openssl: a root, a name-constrained CA per cluster, leaves with one URI SAN.
// They follow the project's profile closely enough for Envoy; shared/pki has the real one.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProxyTrust } from "../proxy.ts";

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}

function makeKey(path: string): void {
  openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path);
}

function sign(dir: string, name: string, issuer: string, extensions: readonly string[]): void {
  const at = (file: string) => join(dir, file);
  makeKey(at(`${name}.key`));
  writeFileSync(at(`${name}.ext`), extensions.join("\n"));
  openssl("req", "-new", "-key", at(`${name}.key`), "-subj", "/O=isthmus", "-out", at(`${name}.csr`));
  const ca = ["-CA", at(`${issuer}.crt`), "-CAkey", at(`${issuer}.key`), "-CAcreateserial"];
  openssl(
    "x509",
    "-req",
    "-in",
    at(`${name}.csr`),
    ...ca,
    "-days",
    "1",
    "-extfile",
    at(`${name}.ext`),
    "-out",
    at(`${name}.crt`),
  );
}

export interface TestFleet {
  readonly rootsPem: string;
  svid(cluster: string, namespace: string, serviceAccount: string): ProxyTrust;
}

export function testFleet(dir: string, fleet: string): TestFleet {
  const at = (file: string) => join(dir, file);
  makeKey(at("root.key"));
  const ca = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
  openssl(
    "req",
    "-x509",
    "-new",
    "-key",
    at("root.key"),
    "-subj",
    "/CN=root",
    "-days",
    "1",
    ...ca,
    "-out",
    at("root.crt"),
  );
  const rootsPem = readFileSync(at("root.crt"), "utf8");
  const clusters = new Set<string>();
  return {
    rootsPem,
    svid(cluster, namespace, serviceAccount) {
      if (!clusters.has(cluster)) {
        const constraint = `nameConstraints=critical,permitted;URI:${cluster}.${fleet}`;
        sign(dir, cluster, "root", [
          "basicConstraints=critical,CA:TRUE,pathlen:0",
          "keyUsage=critical,keyCertSign",
          constraint,
        ]);
        clusters.add(cluster);
      }
      const leaf = `${cluster}-${namespace}-${serviceAccount}`;
      const uri = `subjectAltName=critical,URI:spiffe://${cluster}.${fleet}/ns/${namespace}/sa/${serviceAccount}`;
      sign(dir, leaf, cluster, ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth", uri]);
      const chainPem = readFileSync(at(`${leaf}.crt`), "utf8") + readFileSync(at(`${cluster}.crt`), "utf8");
      return { rootsPem, chainPem, keyPem: readFileSync(at(`${leaf}.key`), "utf8") };
    },
  };
}
