// Who may ask: the API server's aggregator, which has authenticated and authorised its user already. It shows a client certificate from a
// CA of its own, named in a ConfigMap that every cluster has. Nobody else gets past the handshake, so no user is asked about twice.
// https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/#authentication-flow
import { rejected, type Result } from "../../shared/result.ts";
import { fieldOf, stringOf } from "../kube/json.ts";

export interface FrontProxy {
  readonly caPem: string;
  /** Common names; empty: any certificate of that CA. */
  readonly allowedNames: readonly string[];
}

/** ConfigMap kube-system/extension-apiserver-authentication. */
export function parseFrontProxy(configMap: unknown): Result<FrontProxy> {
  const text = (key: string) => stringOf(fieldOf(configMap, "data", key));
  const caPem = text("requestheader-client-ca-file");
  if (!caPem.includes("-----BEGIN CERTIFICATE-----"))
    return rejected("ISTHMUS_AGGREGATION", "this API server was started without --requestheader-client-ca-file");
  try {
    const names: unknown = JSON.parse(text("requestheader-allowed-names") || "[]");
    const allowedNames = Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
    return { ok: true, value: { caPem, allowedNames } };
  } catch {
    return rejected("ISTHMUS_AGGREGATION", "requestheader-allowed-names is no JSON list");
  }
}

export function isAllowed({ allowedNames }: FrontProxy, commonName: string): boolean {
  return allowedNames.length === 0 || allowedNames.includes(commonName);
}
