// The shop's other protocols: TCP, WebSocket and gRPC that send back what they get (TCP may speak first). gRPC and WebSocket are
// written out, because what comes is sent back as it is: nothing of their framing needs to be understood.
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import http2 from "node:http2";
import net from "node:net";
import type { Duplex } from "node:stream";

export function createTcpEcho(name: string, banner: boolean): net.Server {
  return net.createServer((socket) => {
    // server-first protocols (MySQL, SMTP) wait for no byte of the client
    if (banner) socket.write(`${name}\n`);
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
}

/** RFC 6455, 1.3 */
const webSocketGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** On `upgrade` of an HTTP server: takes a WebSocket and sends every byte back. */
export function echoWebSocket({ headers }: IncomingMessage, socket: Duplex): void {
  const key = headers["sec-websocket-key"] ?? "";
  const accept = createHash("sha1").update(`${key}${webSocketGuid}`).digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
  );
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
}

/** https://github.com/grpc/grpc/blob/master/doc/health-checking.md: the path that a kubelet's gRPC probe asks. */
const healthCheck = "/grpc.health.v1.Health/Check";
/** Uncompressed, two bytes: field 1 (status) is SERVING, or NOT_SERVING. */
const [serving, notServing] = [1, 2].map((status) => Buffer.from([0, 0, 0, 0, 2, 8, status]));
/** The service that is never well, for whoever wants to see that. */
const unwell = Buffer.from("down");

/** The question is a few bytes and ends with the call: what service it names is all there is to know of it. */
function answerHealth(stream: http2.ServerHttp2Stream): void {
  const question: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => question.push(chunk));
  stream.on("end", () => stream.end(Buffer.concat(question).includes(unwell) ? notServing : serving));
}

export function createGrpcEcho(service: string): http2.Http2Server {
  return http2.createServer().on("stream", grpcEcho(service));
}

/** TLS of the application's own, which the mesh only passes on. */
export function createTlsGrpcEcho(service: string, pair: { key: string; cert: string }): http2.Http2SecureServer {
  return http2.createSecureServer(pair).on("stream", grpcEcho(service));
}

/** Answers every message of any method but the health check's with itself, as it comes; the trailers carry the status, as gRPC wants it. */
function grpcEcho(service: string) {
  return (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void => {
    const caller = headers["x-forwarded-client-cert"];
    stream.on("error", () => stream.close());
    stream.respond(
      {
        ":status": 200,
        "content-type": "application/grpc",
        "x-shop-service": service,
        ...(caller !== undefined && { "x-shop-caller": caller }),
      },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    if (headers[":path"] === healthCheck) answerHealth(stream);
    else stream.pipe(stream);
  };
}
