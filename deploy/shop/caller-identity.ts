// Who called, as the sidecar in front of this server says it: the x-forwarded-client-cert header (XFCC), which the
// sidecar sets itself and never passes on from a client. Pure.

export interface Peers {
  /** SPIFFE ID of the caller; undefined when no sidecar authenticated one. */
  readonly caller: string | undefined;
  /** SPIFFE ID that this server showed the caller. */
  readonly self: string | undefined;
}

/** `By=<URI>;Hash=...;URI=<URI>`; values may be quoted, and only the last element was written by our own sidecar. */
export function parseClientCertHeader(header: string | undefined): Peers {
  const element = splitOutsideQuotes(header ?? "", ",").at(-1) ?? "";
  const fields = new Map<string, string>();
  for (const pair of splitOutsideQuotes(element, ";")) {
    const at = pair.indexOf("=");
    if (at > 0) fields.set(pair.slice(0, at).trim().toLowerCase(), unquote(pair.slice(at + 1).trim()));
  }
  return { caller: fields.get("uri"), self: fields.get("by") };
}

/** The cluster in `spiffe://<cluster>.<fleet domain>/...`. */
export function clusterOf(spiffeId: string | undefined): string | undefined {
  return /^spiffe:\/\/([a-z0-9-]+)\./.exec(spiffeId ?? "")?.[1];
}

function unquote(value: string): string {
  return value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1).replaceAll('\\"', '"') : value;
}

function splitOutsideQuotes(text: string, separator: string): readonly string[] {
  const parts: string[] = [];
  let quoted = false;
  let part = "";
  for (const character of text) {
    if (character === '"') quoted = !quoted;
    if (character === separator && !quoted) {
      parts.push(part);
      part = "";
    } else part += character;
  }
  return [...parts, part];
}
