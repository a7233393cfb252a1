// One Lease object as the election sees it: read, taken or renewed by compare-and-set, given back. Used by
// lease-election.ts only, which owns the timing.
import type { Clock } from "../../shared/clock.ts";
import { isApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, stringOf, type JsonObject } from "./json.ts";
import { apiVersionOf, leases, type ObjectPath } from "./resources.ts";

export interface LeaseNames {
  readonly namespace: string;
  readonly name: string;
  /** Unique per process: the pod's name. */
  readonly identity: string;
}

type Deps = { readonly client: KubeClient; readonly clock: Clock };

export class LeaseRecord {
  readonly #options: LeaseNames & { readonly leaseMs: number };
  readonly #deps: Deps;
  readonly #at: ObjectPath;
  /** The record as last seen, and when it last changed by our clock. */
  #seen = "";
  #seenAtMs = 0;
  held = false;
  renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: LeaseNames & { readonly leaseMs: number }, deps: Deps) {
    this.#options = options;
    this.#deps = deps;
    this.#at = { resource: leases, namespace: options.namespace, name: options.name };
  }

  async takeOrRenew(signal: AbortSignal): Promise<boolean> {
    const { clock, client } = this.#deps;
    const current = await this.#read(signal);
    const holder = stringOf(fieldOf(current, "spec", "holderIdentity"));
    const mine = holder === this.#options.identity;
    if (current !== undefined && !mine && holder !== "" && !this.#expired(current)) {
      this.held = false;
      return false;
    }
    const startedMs = clock.now(); // the lease counts from before the request: the server's time is never earlier
    const body = this.#body(current, this.#options.identity, mine);
    try {
      if (current === undefined) await client.create({ resource: leases, namespace: this.#options.namespace }, body);
      else await client.replace(this.#at, body);
    } catch (error) {
      if (!isApiError(error, "conflict", "already-exists")) throw error;
      this.held = false; // another replica was faster
      return false;
    }
    this.held = true;
    this.renewedAtMs = startedMs;
    return true;
  }

  /** Lets a follower take over at once. */
  async release(): Promise<void> {
    this.held = false;
    this.renewedAtMs = Number.NEGATIVE_INFINITY;
    const current = await this.#read();
    if (stringOf(fieldOf(current, "spec", "holderIdentity")) !== this.#options.identity) return;
    await this.#deps.client.replace(this.#at, this.#body(current, "", true));
  }

  async #read(signal?: AbortSignal): Promise<JsonObject | undefined> {
    try {
      return await this.#deps.client.get(this.#at, signal);
    } catch (error) {
      if (isApiError(error, "not-found")) return undefined;
      throw error;
    }
  }

  /** The holder has not renewed for a whole lease since we first saw its last renewal. */
  #expired(current: JsonObject): boolean {
    const seen = stringOf(fieldOf(current, "metadata", "resourceVersion"));
    const now = this.#deps.clock.now();
    if (seen !== this.#seen) {
      this.#seen = seen;
      this.#seenAtMs = now;
    }
    const seconds = fieldOf(current, "spec", "leaseDurationSeconds");
    return now - this.#seenAtMs > (typeof seconds === "number" ? seconds * 1000 : this.#options.leaseMs);
  }

  #body(current: JsonObject | undefined, holder: string, mine: boolean): JsonObject {
    const { name, namespace, leaseMs } = this.#options;
    const now = new Date(this.#deps.clock.now()).toISOString().replace("Z", "000Z"); // MicroTime
    const transitions = fieldOf(current, "spec", "leaseTransitions");
    const count = typeof transitions === "number" ? transitions : 0;
    const acquired = mine ? (fieldOf(current, "spec", "acquireTime") ?? now) : now;
    const resourceVersion = stringOf(fieldOf(current, "metadata", "resourceVersion"));
    return {
      apiVersion: apiVersionOf(leases),
      kind: leases.kind,
      metadata: { name, namespace, ...(resourceVersion === "" ? {} : { resourceVersion }) },
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds: holder === "" ? 1 : Math.round(leaseMs / 1000),
        renewTime: now,
        acquireTime: acquired,
        leaseTransitions: mine || current === undefined ? count : count + 1,
      },
    };
  }
}
