// A site's agent from its start: health surface, the way into the fleet, then the life of a member. Called by `isthmus site`.
import type { Clock } from "../shared/clock.ts";
import type { Log } from "../shared/log.ts";

/** Told once everything is served: from here on sidecars and the gateway can be started. */
export interface SiteReady {
  readonly cluster: string;
  readonly fleetDomain: string;
  readonly hub: string;
  readonly adsPort: number;
  readonly adminPort: number;
  /** The gateway's credential folder (agent/site/credential-folder.ts): whole, and kept fresh. */
  readonly gatewayFolder: string;
}

export interface SiteDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly version: string;
  readonly onReady?: (ready: SiteReady) => void;
}
