// A caller that shows whatever certificate a test gives it, and what it hears: what a thief, or a sidecar of another fleet, would.
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:tls";
import { chainPem } from "../../../shared/pki/pem.ts";
import type { Shown } from "../../../shared/pki/testing/wrong-certificates.ts";
import { eventually } from "./envoy.ts";

export interface TlsPlace {
  readonly host: string;
  readonly port: number;
  readonly sni: string;
  readonly alpn: string;
}

export interface Heard {
  /** "refused": no answer came at all. */
  readonly status: number | "refused";
  readonly text: string;
}

export function materialOf({ leaf, issuers }: Shown): { readonly key: string; readonly cert: string } {
  return { key: leaf.keyPem, cert: chainPem([leaf.der, ...issuers.map(({ der }) => der)]) };
}

/** Connects, sends nothing, and waits for what the server says first; "": the server closed, or refused, before it said anything. */
export function greetingFor(shown: Shown, { host, port, sni: servername, alpn }: TlsPlace): Promise<string> {
  return new Promise((resolve) => {
    const options = { ...materialOf(shown), host, port, servername, ALPNProtocols: [alpn], rejectUnauthorized: false };
    const socket = connect(options);
    const done = (text: string) => {
      socket.destroy();
      resolve(text);
    };
    socket.setEncoding("utf8").once("data", done);
    socket.once("error", () => done("")).once("close", () => done(""));
  });
}

/** One HTTP/2 request; whoever answers is not verified, for who is refused is what counts. */
export function asCaller(shown: Shown, { host, port, sni: servername, alpn }: TlsPlace): Promise<Heard> {
  return new Promise((resolve) => {
    const options = { ...materialOf(shown), host, port, servername, ALPNProtocols: [alpn], rejectUnauthorized: false };
    const socket = connect(options);
    const session = connectHttp2(`https://${host}`, { createConnection: () => socket });
    const done = (heard: Heard) => {
      session.destroy();
      socket.destroy();
      resolve(heard);
    };
    const refused = () => done({ status: "refused", text: "" });
    socket.once("error", refused);
    session.once("error", refused).once("close", refused);
    const request = session.request({ ":path": "/items", ":authority": "cart" });
    let [status, text] = [0, ""];
    request.once("response", (headers) => (status = headers[":status"] ?? 0));
    request.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    request.once("end", () => done({ status, text })).once("error", refused);
    request.end();
  });
}

/**
 * Asks until an answer comes, for whoever is owed one: an Envoy whose thread stalls for longer than a listener's inspectors wait (0.1 s)
 * takes TLS for something else, and closes. Who must be refused asks once, by `asCaller`.
 */
export function answered(shown: Shown, place: TlsPlace): Promise<Heard> {
  return eventually(`an answer of ${place.host}:${place.port}`, async () => {
    const heard = await asCaller(shown, place);
    return heard.status === "refused" ? undefined : heard;
  });
}
