// Stands for `isthmus run --redirect` that is killed: makes the redirect, starts a program that nobody ends, says so, and waits.
import { spawn } from "node:child_process";
import process from "node:process";
import { openRedirect } from "../redirect.ts";
import { planOf } from "./plan.ts";

const redirect = await openRedirect();
await redirect.enforce(planOf(process.argv[2] ?? ""));
const [program = "", ...args] = redirect.applicationCommand(["sh", "-c", "echo here; exec sleep 1000"]);
const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"], detached: true });
child.stdout.once("data", () => process.stdout.write(`in force ${child.pid ?? 0}\n`));
setInterval(() => undefined, 1000);
