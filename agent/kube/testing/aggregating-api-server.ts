// A kube-apiserver that asks API services: the program of real-api-server.ts behind a script that adds the aggregator's own certificate. It
// dials the endpoints of a Service, since no kube-proxy is there.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiServerPrograms } from "./real-api-server.ts";

function certificate(directory: string, name: string, issuer?: string): void {
  const at = (file: string) => join(directory, file);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at(`${name}.key`)];
  const from = issuer === undefined ? [] : ["-CA", at(`${issuer}.crt`), "-CAkey", at(`${issuer}.key`)];
  const request = ["req", "-x509", "-days", "1", "-subj", `/CN=${name}`];
  execFileSync("openssl", [...request, ...key, ...from, "-out", at(`${name}.crt`)], { stdio: "ignore" });
}

/** `directory` is the caller's, and must live as long as the server. */
export function withAggregation(programs: ApiServerPrograms, directory: string): ApiServerPrograms {
  certificate(directory, "front-proxy-ca");
  certificate(directory, "front-proxy-client", "front-proxy-ca");
  const at = (file: string) => join(directory, file);
  const flags = [
    ...["--requestheader-client-ca-file", at("front-proxy-ca.crt")],
    ...["--requestheader-allowed-names", "front-proxy-client", "--requestheader-username-headers", "X-Remote-User"],
    ...["--requestheader-group-headers", "X-Remote-Group", "--requestheader-extra-headers-prefix", "X-Remote-Extra-"],
    ...[
      "--proxy-client-cert-file",
      at("front-proxy-client.crt"),
      "--proxy-client-key-file",
      at("front-proxy-client.key"),
    ],
    "--enable-aggregator-routing",
  ];
  const script = at("kube-apiserver");
  writeFileSync(script, `#!/bin/sh\nexec '${programs["kube-apiserver"]}' "$@" ${flags.join(" ")}\n`, { mode: 0o755 });
  return { ...programs, "kube-apiserver": script };
}
