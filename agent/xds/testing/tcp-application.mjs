// A TCP server on loopback: echoes what it gets. With a greeting it speaks first, as mail and MySQL servers do.
import { createServer } from "node:net";

const [port, greeting] = process.argv.slice(2);

createServer((socket) => {
  if (greeting !== undefined) socket.write(`${greeting}\n`);
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
}).listen(Number(port), "127.0.0.1", () => console.log("listening"));
