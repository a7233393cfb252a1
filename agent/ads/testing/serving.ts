// One ADS server and the clients that a test connects to it.
import { ServerCredentials } from "@grpc/grpc-js";
import type { AdsServerDeps } from "../server.ts";
import { startAgent, type TestAgent } from "./agent.ts";
import { connect, type ClientOptions, type TestClient } from "./client.ts";
import { aSnapshot, type Lists } from "./resources.ts";

export class Serving {
  #agent: TestAgent | undefined;
  readonly #clients: TestClient[] = [];

  get agent(): TestAgent {
    if (this.#agent === undefined) throw new Error("no server was started");
    return this.#agent;
  }

  async start(credentials: ServerCredentials, deps: Partial<AdsServerDeps> = {}): Promise<TestAgent> {
    this.#agent = await startAgent(credentials, deps);
    return this.#agent;
  }

  /** Open, and every class that is asked for gets `lists`. */
  async serve(lists: Lists | undefined, deps: Partial<AdsServerDeps> = {}): Promise<void> {
    const agent = await this.start(ServerCredentials.createInsecure(), {
      onClass: ({ wanted, proxyClass }) => {
        agent.wanted.push(`${wanted ? "+" : "-"}${proxyClass.key}`);
        if (wanted && lists !== undefined) setImmediate(() => agent.server.publish(proxyClass.key, aSnapshot(lists)));
      },
      ...deps,
    });
    agent.server.open();
  }

  client(options: ClientOptions = {}): TestClient {
    const made = connect(this.agent.port, options);
    this.#clients.push(made);
    return made;
  }

  async end(): Promise<void> {
    for (const one of this.#clients.splice(0)) one.close();
    await this.#agent?.stop();
    this.#agent = undefined;
  }
}

/** An event that has no promise of its own, looked at once per turn. */
export async function until(what: string, holds: () => boolean, deadlineMs = 15_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
