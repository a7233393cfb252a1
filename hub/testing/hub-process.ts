// A hub as an operator starts it: a process of its own, for tests that kill it or take its surroundings away.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { askOperator } from "../operator-client.ts";
import { anonymousClient, clientOf, joinRequest, newKeys, type TestAgent } from "./hub.ts";

const cliProgram = fileURLToPath(new URL("../../cli/isthmus.js", import.meta.url));

export interface HubProcess {
  readonly child: ChildProcess;
  readonly address: string;
  /** What it wrote to standard error so far. */
  readonly said: () => string;
  /** Resolves once it has said that. */
  readonly says: (text: string) => Promise<void>;
  readonly end: () => Promise<void>;
}

/** Resolves when the hub runs. `within`: what starts it, a namespace for instance; it must end by becoming the hub (exec). */
export async function spawnHub(dataDir: string, port: number, within: readonly string[] = []): Promise<HubProcess> {
  const hub = [process.execPath, cliProgram, "hub", "--data", dataDir];
  const [program = process.execPath, ...args] = [...within, ...hub];
  const listen = ["--listen", `127.0.0.1:${port}`, "--http", "127.0.0.1:0"];
  const child = spawn(program, [...args, ...listen], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "exit");
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (said.includes(text)) resolve();
      };
      child.stderr.on("data", look);
      child.once("exit", () => reject(new Error(`the hub ended before it said "${text}": ${said}`)));
      look();
    });
  const end = async () => {
    child.kill("SIGTERM");
    if (child.exitCode === null && child.signalCode === null) await ended;
  };
  await says("the hub runs");
  return { child, address: `127.0.0.1:${port}`, said: () => said, says, end };
}

export async function joinByOperator(dataDir: string, address: string, cluster: string): Promise<TestAgent> {
  const { token } = await askOperator(dataDir, { method: "POST", path: "/v1/tokens", body: { cluster } });
  const keys = newKeys();
  const client = anonymousClient(address);
  const reply = await client.join(await joinRequest(String(token), keys));
  client.close();
  return { cluster, keys, reply, client: clientOf(address, keys, reply.agentChainDer) };
}
