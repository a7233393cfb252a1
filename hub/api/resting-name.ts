// A name that was left rests until nobody can hold a certificate of its former life: no Envoy can tell a former cluster CA from the
// present one of the same name (decision 48), so the name must not have a present one yet. Asked where tokens are made and redeemed.
import { UserError } from "../../shared/errors.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { backdateMs } from "../../shared/pki/template.ts";
import type { Authority } from "../ca/authority.ts";
import type { Departures } from "../store/departures.ts";

export interface RestingNames {
  readonly authority: Pick<Authority, "clusterCaTrustedUntilMs">;
  readonly departures: Departures;
}

/** Undefined: it does not rest. Proxies whose clock is slow take a certificate for longer than it lives. */
export function restsUntilMs({ authority, departures }: RestingNames, cluster: ClusterName): number | undefined {
  const endMs = departures.has(cluster) ? authority.clusterCaTrustedUntilMs(cluster, backdateMs) : 0;
  return endMs === 0 ? undefined : endMs + backdateMs;
}

export function restingName(cluster: ClusterName, untilMs: number): UserError {
  const until = new Date(untilMs).toISOString();
  return new UserError(
    "ISTHMUS_NAME_RESTS",
    `${cluster} has left, and certificates of its former life could be used until ${until}`,
    {
      hint: `choose another name, or wait; if its former keys are known to be gone: isthmus token create ${cluster} --trust-former`,
    },
  );
}
