// cert-manager signs the hub's issuing CA: a CertificateRequest object with `isCA`, read until it is ready.
// https://cert-manager.io/docs/usage/certificaterequest/ (cert-manager.io/v1)
import { createHash } from "node:crypto";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { CertManagerPlace } from "./issuers-file.ts";
import type { UpstreamSigner } from "./issuing-ca.ts";
import { callJson, readUpstreamFile, upstreamUrl, type JsonAnswer, type JsonCall } from "./upstream-http.ts";

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";
const defaultDuration = "2160h";
/** Somebody may have to approve it; the object stays, so that asking again finds it. */
const patienceMs = 60_000;
const lookMs = 1_000;

export interface CertManagerDeps {
  readonly place: CertManagerPlace;
  readonly clock: Clock;
  /** KUBERNETES_SERVICE_HOST and _PORT, as the kubelet sets them. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

interface RequestStatus {
  readonly conditions?: readonly {
    readonly type?: string;
    readonly status?: string;
    readonly reason?: string;
    readonly message?: string;
  }[];
  readonly certificate?: string;
  readonly ca?: string;
}

export function certManagerSigner(deps: CertManagerDeps): UpstreamSigner {
  const { place, clock } = deps;
  const objects = `/apis/cert-manager.io/v1/namespaces/${encodeURIComponent(place.namespace)}/certificaterequests`;
  return {
    sign: async (requestPem) => {
      const name = nameFor(requestPem, clock.now());
      const made = await call(deps, "POST", objects, certificateRequest(place, name, requestPem));
      if (made.status !== 201 && made.status !== 409)
        throw refused(`creating the request was answered ${made.status}${reasonOf(made)}`);
      const chain = await untilReady(deps, `${objects}/${name}`);
      // it was a message, and it has been read; one that could not be removed harms nobody
      await call(deps, "DELETE", `${objects}/${name}`);
      return chain;
    },
  };
}

/** The same for the same request within an hour: after a lost answer the object that was made is found again. */
function nameFor(requestPem: string, nowMs: number): string {
  const hour = Math.floor(nowMs / 3_600_000);
  return `isthmus-issuing-${createHash("sha256").update(`${requestPem}${hour}`).digest("hex").slice(0, 16)}`;
}

function certificateRequest(place: CertManagerPlace, name: string, requestPem: string): unknown {
  const { name: issuer, kind = "Issuer", group = "cert-manager.io" } = place.issuer;
  return {
    apiVersion: "cert-manager.io/v1",
    kind: "CertificateRequest",
    metadata: { name, labels: { "app.kubernetes.io/part-of": "isthmus" } },
    spec: {
      request: Buffer.from(requestPem).toString("base64"),
      isCA: true,
      duration: place.duration ?? defaultDuration,
      usages: ["cert sign", "crl sign"],
      issuerRef: { name: issuer, kind, group },
    },
  };
}

async function untilReady(deps: CertManagerDeps, path: string): Promise<string> {
  const { clock } = deps;
  const endMs = clock.now() + patienceMs;
  for (;;) {
    const answer = await call(deps, "GET", path);
    if (answer.status !== 200) throw refused(`reading the request was answered ${answer.status}${reasonOf(answer)}`);
    const status = (answer.body["status"] ?? {}) as RequestStatus;
    const failed = status.conditions?.find(isFinalRefusal);
    if (failed !== undefined)
      throw refused(`${failed.reason ?? failed.type ?? ""}: ${failed.message ?? ""}`.slice(0, 300));
    if (isReady(status)) return chainOf(status);
    if (clock.now() >= endMs)
      throw refused("it is not ready after a minute; if somebody has to approve it, ask again then");
    await clock.sleep(lookMs, AbortSignal.timeout(patienceMs));
  }
}

type Condition = NonNullable<RequestStatus["conditions"]>[number];

function isFinalRefusal({ type, status, reason }: Condition): boolean {
  if ((type === "Denied" || type === "InvalidRequest") && status === "True") return true;
  return type === "Ready" && status === "False" && (reason === "Failed" || reason === "Denied");
}

function isReady({ conditions }: RequestStatus): boolean {
  return conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
}

/** `certificate` is the issuing CA with its intermediates; `ca` is the root, where the issuer knows it. */
function chainOf({ certificate, ca }: RequestStatus): string {
  const [chain, root] = [certificate, ca].map((text) =>
    Buffer.from(text ?? "", "base64")
      .toString("utf8")
      .trim(),
  );
  if (chain === undefined || chain === "") throw refused("it is ready and holds no certificate");
  if (root === undefined || root === "") throw refused("its issuer does not know its root (status.ca is empty)");
  return chain.endsWith(root) ? `${chain}\n` : `${chain}\n${root}\n`;
}

async function call(
  deps: CertManagerDeps,
  method: JsonCall["method"],
  path: string,
  body?: unknown,
): Promise<JsonAnswer> {
  const { server, caFile, tokenFile } = placeOf(deps);
  const token = await readUpstreamFile(tokenFile); // the kubelet renews it
  const url = new URL(path, upstreamUrl(server));
  const headers = { authorization: `Bearer ${token}` };
  return callJson({ method, url, headers, caFile, ...(body === undefined ? {} : { body }) });
}

function placeOf({ place, environment }: CertManagerDeps) {
  const tokenFile = place.tokenFile ?? `${serviceAccount}/token`;
  if (place.server !== undefined) return { server: place.server, caFile: place.caFile, tokenFile };
  const [host, port = "443"] = [environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]];
  if (host === undefined) {
    throw new UserError(
      "ISTHMUS_ISSUERS_FILE",
      "certManager.server is missing, and this hub does not run in a cluster",
      {
        hint: "name server, caFile and tokenFile in issuers.json",
      },
    );
  }
  const bracketed = host.includes(":") ? `[${host}]` : host;
  return { server: `https://${bracketed}:${port}`, caFile: place.caFile ?? `${serviceAccount}/ca.crt`, tokenFile };
}

function reasonOf({ body }: JsonAnswer): string {
  const message = body["message"];
  return typeof message === "string" ? `: ${message.slice(0, 300)}` : "";
}

function refused(message: string): UserError {
  return new UserError("ISTHMUS_UPSTREAM", `cert-manager does not sign: ${message}`, {
    hint: "kubectl describe certificaterequests in its namespace; the hub needs create, get and delete on them",
  });
}
