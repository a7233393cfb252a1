// The one HTTP/2 connection to the hub, replaced when the member's credentials change: the new one is proven by a call before
// the old one's streams are moved. Called by session.ts.
import type { ChannelOptions } from "@grpc/grpc-js";
import { createFleetClient, type FleetClient } from "../../shared/grpc/fleet-service.ts";
import { causeChain, type Log } from "../../shared/log.ts";
import type { Clock } from "../../shared/clock.ts";
import { hexOf } from "../../shared/pki/hex.ts";
import type { AgentCredential } from "../identity/agent-credential.ts";
import type { JoinedIdentity } from "../identity/identity-state.ts";
import { hubServerName, memberCredentials } from "./hub-tls.ts";

const options: ChannelOptions = {
  "grpc.ssl_target_name_override": hubServerName,
  // a silently dropped connection is known within 15 s, also when no stream is open
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.keepalive_permit_without_calls": 1,
  // session.ts decides when to try again; gRPC's own waits up to two minutes
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.enable_retries": 0,
};

const retryMs = 5_000;

export interface HubConnection {
  readonly client: FleetClient;
  /** Aborted when another connection has taken this one's place: streams move there at once. */
  readonly replaced: AbortSignal;
}

export interface HubChannelDeps {
  readonly credential: AgentCredential;
  /** A cheap call that the hub answers only to a member. */
  readonly prove: (client: FleetClient) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
}

interface Held extends HubConnection {
  readonly replacing: AbortController;
  readonly material: string;
}

export class HubChannel {
  readonly #deps: HubChannelDeps;
  #held: Held;

  constructor(deps: HubChannelDeps) {
    this.#deps = deps;
    this.#held = connect(deps.credential.state());
  }

  current(): HubConnection {
    return this.#held;
  }

  /** Follows the credential until the signal aborts, then closes. */
  async run(signal: AbortSignal): Promise<void> {
    let changed = Promise.withResolvers<undefined>();
    const stop = this.#deps.credential.onChange(() => changed.resolve(undefined));
    const aborted = new Promise<undefined>((resolve) => {
      signal.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    try {
      while (!signal.aborted) {
        await Promise.race([changed.promise, aborted]);
        changed = Promise.withResolvers<undefined>();
        await this.#follow(signal);
      }
    } finally {
      stop();
      this.#held.client.close();
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { credential, clock, log, prove } = this.#deps;
    while (!signal.aborted && materialOf(credential.state()) !== this.#held.material) {
      const next = connect(credential.state());
      try {
        await prove(next.client);
        const before = this.#held;
        this.#held = next;
        before.replacing.abort(new Error("the connection was replaced by one with newer credentials"));
        before.client.close();
      } catch (error) {
        next.client.close();
        log.warn("the new credentials do not connect; the old connection stays", { cause: causeChain(error) });
        await clock.sleep(retryMs, signal);
      }
    }
  }
}

function connect(state: JoinedIdentity): Held {
  const replacing = new AbortController();
  const client = createFleetClient(state.hub, memberCredentials(state), options);
  return { client, replacing, replaced: replacing.signal, material: materialOf(state) };
}

/** What a connection is made of: a change of anything else needs no new one. */
function materialOf(state: JoinedIdentity): string {
  return JSON.stringify([state.hub, state.agentChainPem, state.bundle.rootsDer.map(hexOf)]);
}
