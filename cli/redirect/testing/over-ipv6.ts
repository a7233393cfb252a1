// Run in a network namespace of its own: a machine with IPv6 and a redirect. Says what a redirected program gets over IPv6: by TCP
// elsewhere and on ::1, and from a resolver elsewhere.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { namesOf } from "../../dns/names.ts";
import { startDns } from "../../dns/server.ts";
import { openRedirect } from "../redirect.ts";
import { planOf } from "./plan.ts";

const elsewhere = "fd01::1";
const program = `
const { connect } = require("node:net");
const { Resolver } = require("node:dns").promises;
const call = (host) => new Promise((done) => connect(9000, host, () => done("connected")).on("error", (error) => done(error.code)));
const resolver = new Resolver();
resolver.setServers(["[${elsewhere}]:53"]);
const found = resolver.resolve4("cart.shop").catch((error) => error.code);
Promise.all([call("${elsewhere}"), call("::1"), found]).then((all) => { console.log(JSON.stringify(all)); process.exit(); });
`;

for (const command of ["link set lo up", `-6 addr add ${elsewhere}/128 dev lo nodad`])
  execFileSync("ip", command.split(" "));
const folder = mkdtempSync(join(tmpdir(), "isthmus-ipv6-"));
const hosts = join(folder, "hosts");
writeFileSync(hosts, "127.97.0.1 cart.shop\n");
const dns = await startDns({ address: "::1", port: 0 }, { names: namesOf(hosts), ask: undefined });
const server = createServer((socket) => socket.end()).listen(9000, "::");
const redirect = await openRedirect();
try {
  await redirect.enforce({ ...planOf("127.97.0.0"), dns: { port: 15_053, portV6: dns.at.port } });
  const [command = "", ...args] = redirect.applicationCommand([process.execPath, "-e", program]);
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  await new Promise((done) => child.once("close", done));
} finally {
  await redirect.close();
  await dns.close();
  server.close();
  rmSync(folder, { recursive: true });
}
