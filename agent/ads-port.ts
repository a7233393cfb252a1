// The port on which proxies ask for their configuration, served with the agent's own SVID, which is replaced without
// dropping a stream. One task of a member's life.
import { UserError } from "../shared/errors.ts";
import type { Log } from "../shared/log.ts";
import type { Task } from "../shared/lifecycle.ts";
import { createSwappableCredentials, type SwappableCredentials } from "./ads/credentials.ts";
import type { AdsServer } from "./ads/server.ts";
import type { SvidIssuer } from "./identity/svid-issuer.ts";
import type { Account } from "./push/proxy-trust.ts";

/** Streams are handed to the other replica over this time when the agent stops: no herd. */
const CLOSE_SPREAD_MS = 1_500;

export interface AdsPort {
  readonly ads: AdsServer;
  readonly issuer: SvidIssuer;
  /** The agent's own. */
  readonly account: Account;
  /** `host:port` */
  readonly listen: string;
  readonly log: Log;
  readonly onOpen: () => void;
}

export function adsPortTask({ ads, issuer, account, listen, log, onOpen }: AdsPort): Task {
  const own = () => issuer.svidFor(account.namespace, account.serviceAccount);
  const run = async (signal: AbortSignal) => {
    const credentials = createSwappableCredentials(await own());
    const stop = issuer.onChange(({ namespace, serviceAccount }) => {
      if (namespace !== account.namespace || serviceAccount !== account.serviceAccount) return;
      own().then(
        (svid) => credentials.replace(svid),
        (error: unknown) => log.error("the agent's own certificate was not renewed", {}, error),
      );
    });
    await open(ads, listen, credentials.credentials);
    onOpen();
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    stop();
    await ads.close(CLOSE_SPREAD_MS);
  };
  return { name: "ads", run };
}

async function open(ads: AdsServer, at: string, credentials: SwappableCredentials["credentials"]): Promise<void> {
  try {
    await ads.listen(at, credentials);
  } catch (cause) {
    throw new UserError("ISTHMUS_LISTEN", `cannot listen for ADS on ${at}`, {
      cause,
      hint: "another program has the port, or the address is not of this machine",
    });
  }
}
