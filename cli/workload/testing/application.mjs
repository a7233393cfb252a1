// The application of the tests: answers on PORT (`/slow` after half a second), and at SIGTERM writes down what it found, then ends
// with STATUS.
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const { PORT, STATUS, NOTE, REGISTRATION, HTTP_PROXY, DEAF } = process.env;
const server = createServer((request, response) => {
  const answer = () => response.end(`${request.url} by ${HTTP_PROXY}`);
  if (request.url !== "/slow") return answer();
  writeFileSync(`${NOTE}.slow`, "");
  setTimeout(answer, 500);
});
server.listen(Number(PORT), "127.0.0.1");
process.on("SIGTERM", () => {
  if (DEAF !== undefined) return;
  writeFileSync(NOTE, existsSync(REGISTRATION) ? "registered" : "not registered");
  process.exit(Number(STATUS));
});
