// The application behind a sidecar: HTTP/1.1 and HTTP/2 on one port, of loopback unless told. It says what reached it.
// `/hang-up` closes the connection without an answer, `/forge` answers as only a sidecar may; both are counted in other answers.
import { createServer as createTcpServer } from "node:net";
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";

const [port, name, host = "127.0.0.1"] = process.argv.slice(2);
let hungUp = 0;
const labels = ["namespace", "kind", "name", "pod"];
const forgedLabels = Object.fromEntries(labels.map((label) => [`osm-stats-${label}`, "forged"]));

function answer(request, response) {
  const path = request.url ?? "";
  if (path.startsWith("/hang-up")) {
    hungUp += 1;
    (request.socket ?? request.stream.session.socket).destroy();
    return;
  }
  if (path.startsWith("/forge")) {
    hungUp += 1;
    response.writeHead(503, { "x-isthmus-failure": "undelivered", ...forgedLabels }).end();
    return;
  }
  const { method, headers, httpVersion } = request;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ name, method, path, httpVersion, headers, hungUp }));
}

const http1 = createServer(answer);
const http2 = createHttp2Server(answer);
http1.on("upgrade", (request, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
  socket.on("data", (chunk) => socket.write(chunk));
});

createTcpServer((socket) => {
  socket.once("readable", () => {
    const first = socket.read(3);
    if (first === null) return;
    socket.unshift(first);
    (first.toString() === "PRI" ? http2 : http1).emit("connection", socket);
  });
}).listen(Number(port), host, () => console.log("listening"));
