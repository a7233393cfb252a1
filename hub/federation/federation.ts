// The fleets that this one is federated with: added and removed by an operator, read again and again. What they state goes into the
// signed bundle, each fleet for itself. Called by hub/api (operator) and as a task of the hub.
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { causeChain, type Log } from "../../shared/log.ts";
import type { Result } from "../../shared/result.ts";
import type { AuditLog } from "../audit/log.ts";
import type { Authority } from "../ca/authority.ts";
import { fetchBundle, type FetchTarget } from "./fetch-bundle.ts";
import { afterReading, parseOrder, withFleets, type ForeignFleet } from "./foreign-fleet.ts";
import { formatSpiffeBundle, parseSpiffeBundle, type SpiffeBundle } from "./spiffe-bundle.ts";

export interface FederationDeps {
  readonly authority: Authority;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly log: Log;
  readonly bundleChanged: () => void;
  /** How often others are asked to read this fleet's bundle. */
  readonly refreshMs: number;
  readonly fetch?: (target: FetchTarget) => Promise<SpiffeBundle>;
}

/** How often the task looks whose hint is due. */
const lookEveryMs = 5_000;
const [shortestMs, longestMs] = [60_000, 24 * 3_600_000];

export class Federation {
  readonly #deps: FederationDeps;
  readonly #fetch: (target: FetchTarget) => Promise<SpiffeBundle>;
  readonly #dueMs = new Map<string, number>();
  readonly #problems = new Map<string, string>();

  constructor(deps: FederationDeps) {
    this.#deps = deps;
    this.#fetch = deps.fetch ?? ((target) => fetchBundle(target));
  }

  fleets(): readonly ForeignFleet[] {
    return this.#deps.authority.trust().federation ?? [];
  }

  /** Of this fleet, as its endpoint states it. */
  ownBundle(): string {
    const { sequence, rootsDer } = this.#deps.authority.bundle();
    return formatSpiffeBundle(sequence, rootsDer, Math.round(this.#deps.refreshMs / 1000));
  }

  overview(): unknown {
    const fleets = this.fleets().map(({ roots, ...fleet }) => ({
      ...fleet,
      roots: roots.length,
      problem: this.#problems.get(fleet.fleetDomain) ?? "",
    }));
    return { fleetDomain: this.#deps.authority.fleetDomain, bundle: JSON.parse(this.ownBundle()) as unknown, fleets };
  }

  /** Begins with a bundle that the operator brought along, or with what the endpoint states. */
  async add(body: unknown): Promise<ForeignFleet> {
    const order = valueOf(parseOrder(body, this.#deps.authority.fleetDomain));
    const { bundle: given } = (body ?? {}) as { bundle?: unknown };
    const begun = { ...order, sequence: 0, refreshHintS: 0, roots: [] };
    if (order.profile === "https_spiffe" && typeof given !== "string") {
      throw new UserError("ISTHMUS_FEDERATION", "profile https_spiffe begins with a bundle of that fleet", {
        hint: `on its hub: isthmus federate --own > bundle.json; here: isthmus federate ${order.fleetDomain} --bundle bundle.json ...`,
      });
    }
    const first = typeof given === "string" ? valueOf(parseSpiffeBundle(given)) : await this.#fetch(begun);
    const fleet = valueOf(afterReading(begun, first));
    const { fleetDomain, url, profile } = fleet;
    await this.#record("federation.add", fleetDomain, {
      url,
      profile,
      sequence: fleet.sequence,
      roots: fleet.roots.length,
    });
    await this.#keep([...this.#others(fleetDomain), fleet]);
    // what was brought along may be old by now
    this.#dueMs.set(fleetDomain, 0);
    return fleet;
  }

  async remove(name: string): Promise<void> {
    if (!this.fleets().some(({ fleetDomain }) => fleetDomain === name)) {
      throw new UserError("ISTHMUS_FEDERATION", `this fleet is not federated with ${name}`, {
        hint: "isthmus federate",
      });
    }
    await this.#record("federation.remove", name, {});
    await this.#keep(this.#others(name));
  }

  /** Task: reads each fleet's bundle when its hint says so. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      for (const fleet of this.fleets()) await this.#refresh(fleet);
      await this.#deps.clock.sleep(lookEveryMs, signal);
    }
  }

  async #refresh(fleet: ForeignFleet): Promise<void> {
    const { clock, log } = this.#deps;
    const { fleetDomain, refreshHintS } = fleet;
    if ((this.#dueMs.get(fleetDomain) ?? 0) > clock.now()) return;
    const everyMs = Math.min(longestMs, Math.max(shortestMs, refreshHintS * 1000));
    this.#dueMs.set(fleetDomain, clock.now() + everyMs);
    try {
      const next = valueOf(afterReading(fleet, await this.#fetch(fleet)));
      this.#problems.delete(fleetDomain);
      if (next === fleet) return;
      const { sequence, roots } = next;
      await this.#record("federation.bundle", fleetDomain, { sequence, roots: roots.length });
      await this.#keep([...this.#others(fleetDomain), next]);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      // its held roots stay in force: a fleet that cannot be reached now is trusted as it was
      this.#problems.set(fleetDomain, error.message);
      log.warn("the bundle of a federated fleet was not read; the held one stays", {
        fleetDomain,
        cause: causeChain(error),
      });
    }
  }

  #others(name: string): readonly ForeignFleet[] {
    return this.fleets().filter(({ fleetDomain }) => fleetDomain !== name);
  }

  async #keep(fleets: readonly ForeignFleet[]): Promise<void> {
    const { authority, bundleChanged } = this.#deps;
    if (await authority.changeTrust((file) => withFleets(file, fleets))) bundleChanged();
  }

  async #record(action: string, subject: string, detail: Readonly<Record<string, string | number>>): Promise<void> {
    const actor = action === "federation.bundle" ? `fleet:${subject}` : "operator";
    await this.#deps.audit.record({ action, actor, subject, detail });
  }
}

function valueOf<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  const [problem] = result.error;
  throw new UserError(problem?.code ?? "ISTHMUS_FEDERATION", problem?.message ?? "not possible");
}
