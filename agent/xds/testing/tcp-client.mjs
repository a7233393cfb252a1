// One TCP connection, for as long as it lasts. Says what it got and when it ended; each line of stdin is sent.
import { connect } from "node:net";

const [host, port] = process.argv.slice(2);
const started = performance.now();
const say = (word, rest = "") => console.log(`${word} ${Math.round(performance.now() - started)} ${rest}`);
const socket = connect(Number(port), host, () => say("connected"));
socket.on("data", (chunk) => say("data", JSON.stringify(chunk.toString())));
socket.on("error", (error) => say("error", error.code));
socket.on("close", () => say("closed"));
process.stdin.on("data", (chunk) => socket.write(chunk));
