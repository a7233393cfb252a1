// Entry of the agent's container: configuration, signals, exit status. A failure that a person must mend is one line on
// standard error and in the termination message, where `kubectl describe` and `isthmus join` show it.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { systemClock } from "../shared/clock.ts";
import { UserError } from "../shared/errors.ts";
import { causeChain, jsonLog } from "../shared/log.ts";
import { runAgent } from "./agent.ts";
import { readAgentConfig } from "./config.ts";
import { rejoins } from "./rejoining.ts";

const TERMINATION_MESSAGE = "/dev/termination-log";

function ended(error: unknown): string {
  const code = error instanceof UserError ? error.code : "ISTHMUS_INTERNAL";
  const hint = error instanceof UserError && error.hint !== undefined ? `; ${error.hint}` : "";
  return `error ${code}: ${causeChain(error).join("; caused by ")}${hint}`;
}

/** The innermost UserError is what a person can act on; the tasks around it only say where it came up. */
function userErrorIn(error: unknown): unknown {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof UserError) return at;
  return error;
}

const config = readAgentConfig(process.env);
if (!config.ok) {
  for (const { code, field, message } of config.error)
    process.stderr.write(`error ${code}: ${field ?? ""} ${message}\n`);
  process.exit(1);
}
const log = jsonLog(config.value.logLevel, (line) => process.stderr.write(line));
const stop = new AbortController();
for (const name of ["SIGTERM", "SIGINT"] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
try {
  await runAgent({ config: config.value, clock: systemClock, random: Math.random, log }, stop.signal);
  process.exit(0); // keep-alive sockets of clients must not hold the pod
} catch (error) {
  const cause = userErrorIn(error);
  if (cause instanceof UserError && cause.code === rejoins) {
    log.info(cause.message, { next: cause.hint });
    process.exit(0); // the pod's restart policy starts it again
  }
  log.error("the agent ended", {}, error);
  const line = ended(cause);
  process.stderr.write(`${line}\n`);
  try {
    writeFileSync(TERMINATION_MESSAGE, line);
  } catch (cause) {
    log.debug("no termination message", { cause: causeChain(cause) });
  }
  process.exit(1);
}
