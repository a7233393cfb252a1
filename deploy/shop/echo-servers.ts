// The shop's other protocols: TCP that sends back what it gets (and may speak first), and gRPC that does the same with
// one message. gRPC is written out over HTTP/2, because five bytes of framing are all it takes.
import http2 from "node:http2";
import net from "node:net";

export function createTcpEcho(name: string, banner: boolean): net.Server {
  return net.createServer((socket) => {
    // server-first protocols (MySQL, SMTP) wait for no byte of the client
    if (banner) socket.write(`${name}\n`);
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
}

/** Answers any unary method with the request's message; the trailers carry the status, as gRPC wants it. */
export function createGrpcEcho(service: string): http2.Http2Server {
  const server = http2.createServer();
  server.on("stream", (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => stream.close());
    stream.on("end", () => {
      const caller = headers["x-forwarded-client-cert"];
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
      stream.end(Buffer.concat(chunks));
    });
  });
  return server;
}
