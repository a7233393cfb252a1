// Run in a mount namespace whose /run is empty: a machine with a daemon that looks names up for programs. Says what a redirected program
// gets of it, and what any other.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import process from "node:process";
import { openRedirect } from "../redirect.ts";

const socket = "/run/nscd/socket";
const program = `
const socket = require("node:net").connect("${socket}", () => { console.log("connected"); socket.destroy(); });
socket.on("error", (error) => console.log(error.code));
`;

mkdirSync("/run/nscd");
const daemon = createServer().listen(socket);
const redirect = await openRedirect();
const said = ([command = "", ...args]: readonly string[]) => execFileSync(command, args, { encoding: "utf8" }).trim();
try {
  const call = [process.execPath, "-e", program];
  console.log(JSON.stringify([said(redirect.applicationCommand(call)), said(call)]));
} finally {
  await redirect.close();
  daemon.close();
}
