// JSON over HTTPS to an upstream issuer: its own CA, a deadline, one error for all that keeps an answer away. Called by
// vault-signer.ts and cert-manager-signer.ts.
import { readFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { UserError } from "../../shared/errors.ts";

const deadlineMs = 15_000;
/** No answer of these APIs is larger; a stranger's might be. */
const mostBytes = 1024 * 1024;

export interface JsonCall {
  readonly method: "GET" | "POST" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** PEM file of the authority of the server's certificate; undefined: the system's. */
  readonly caFile: string | undefined;
}

export interface JsonAnswer {
  readonly status: number;
  /** An empty object where the answer was no JSON object. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** Throws UserError ISTHMUS_UPSTREAM when there is no answer; any status is an answer. */
export async function callJson(call: JsonCall): Promise<JsonAnswer> {
  const { url } = call;
  const ca = call.caFile === undefined ? undefined : await readUpstreamFile(call.caFile);
  try {
    const { status, text } = await exchange(call, ca);
    return { status, body: objectOf(text) };
  } catch (cause) {
    throw new UserError("ISTHMUS_UPSTREAM", `no answer from ${url.origin}`, {
      cause,
      hint: "check the address, the network and the CA file in issuers.json",
    });
  }
}

/** A URL that may carry a token: TLS, but for a server on this machine. */
export function upstreamUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLocal = url !== undefined && ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  if (url?.protocol === "https:" || (url?.protocol === "http:" && isLocal)) return url;
  throw new UserError("ISTHMUS_ISSUERS_FILE", `${text} is no https URL`, {
    hint: "http only reaches this machine itself; everything else carries a token",
  });
}

export async function readUpstreamFile(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (cause) {
    throw new UserError("ISTHMUS_UPSTREAM", `cannot read ${path}`, { cause, hint: "issuers.json names it" });
  }
}

function exchange(call: JsonCall, ca: string | undefined): Promise<{ readonly status: number; readonly text: string }> {
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers = {
    ...call.headers,
    accept: "application/json",
    ...(body === undefined ? {} : { "content-type": "application/json" }),
  };
  // RFC 6066: an address is no server name
  const servername = isIP(call.url.hostname.replace(/^\[|\]$/g, "")) === 0 ? call.url.hostname : "";
  const signal = AbortSignal.timeout(deadlineMs);
  const send = call.url.protocol === "https:" ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = send(call.url, { method: call.method, headers, ca, servername, signal }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes > mostBytes) sent.destroy(new Error("the answer is larger than any of this API"));
      });
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // a proxy's page: the status says enough
  }
}
