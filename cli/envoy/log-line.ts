// The lines of Envoy's log that a person can act upon, in plain words. Pure.

export interface EnvoyFact {
  readonly kind: "port-taken" | "not-allowed";
  /** `host:port` */
  readonly address: string;
  readonly text: string;
}

const cannotBind = /cannot bind '([^']+)':? ?(.*?)(?:'|$)/;

/** Undefined for all else: Envoy's other warnings are for those who know Envoy. */
export function readEnvoyLine(line: string): EnvoyFact | undefined {
  const [, address = "", reason = ""] = cannotBind.exec(line) ?? [];
  if (address === "") return undefined;
  if (/permission denied/i.test(reason)) {
    return { kind: "not-allowed", address, text: `may not listen on ${address}: the port needs a privilege` };
  }
  if (/cannot assign/i.test(reason)) {
    return { kind: "not-allowed", address, text: `cannot listen on ${address}: it is no address of this machine` };
  }
  return { kind: "port-taken", address, text: `cannot listen on ${address}: another program does` };
}
