// The port on which proxies ask for their configuration, served with the agent's own SVID, which is replaced without
// dropping a stream. While a rotation changes the root, proxies are asked one after the other to connect again, so that each
// shows whether its trust file holds the new one. One task of a member's life.
import type { Clock } from "../shared/clock.ts";
import { UserError } from "../shared/errors.ts";
import type { Log } from "../shared/log.ts";
import type { Task } from "../shared/lifecycle.ts";
import type { SigningPool } from "../shared/pki/signing-pool.ts";
import { renewalDueMs } from "../shared/pki/template.ts";
import { createSwappableCredentials, type ServerIdentity, type SwappableCredentials } from "./ads/credentials.ts";
import type { AdsServer } from "./ads/server.ts";
import type { AdsStream } from "./ads/stream.ts";
import type { ClusterCa, Svid } from "./identity/cluster-ca.ts";
import type { SvidIssuer } from "./identity/svid-issuer.ts";
import type { Account } from "./push/proxy-trust.ts";

/** Streams are handed to the other replica over this time when the agent stops: no herd. */
const CLOSE_SPREAD_MS = 1_500;
/** While two roots are about: one proxy connects again every so often, and the same one not sooner than after the second. */
const PROBE_EVERY_MS = 50;
const PROBE_AGAIN_MS = 10_000;
/** How often it is asked whether two roots are about. */
const IDLE_MS = 1_000;

export interface AdsPort {
  readonly ads: AdsServer;
  readonly issuer: SvidIssuer;
  /** Asked at each use: a rotation brings and takes it while the port is open. */
  readonly formerClusterCa: () => ClusterCa | undefined;
  readonly pool: SigningPool;
  readonly svidTtlMs: number;
  /** The agent's own. */
  readonly account: Account;
  /** `host:port` */
  readonly listen: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly onOpen: () => void;
  /** A proxy has shown by which root it verifies this port. */
  readonly onProof: () => void;
}

export interface AdsPortTask extends Task {
  /** The root by which a stream's proxy verified this port; undefined while that is not known. */
  readonly verifiedBy: (stream: AdsStream) => string | undefined;
}

export function adsPortTask(port: AdsPort): AdsPortTask {
  let credentials: SwappableCredentials | undefined;
  const verifiedBy = ({ address }: AdsStream) => credentials?.verifiedBy(address);
  const run = async (signal: AbortSignal) => {
    const identities = ownIdentities(port);
    const swappable = createSwappableCredentials(await identities.own());
    credentials = swappable;
    const replace = async () => swappable.replace(await identities.own(), await identities.former());
    const stop = port.issuer.onChange(({ namespace, serviceAccount }) => {
      const { account } = port;
      if (namespace !== account.namespace || serviceAccount !== account.serviceAccount) return;
      replace().catch((error: unknown) => port.log.error("the agent's own certificate was not renewed", {}, error));
    });
    await open(port.ads, port.listen, swappable.credentials);
    port.onOpen();
    await askForProof(port, { swappable, verifiedBy, replace, identities }, signal);
    stop();
    await port.ads.close(CLOSE_SPREAD_MS);
  };
  return { name: "ads", run, verifiedBy };
}

interface OwnIdentities {
  own(): Promise<ServerIdentity>;
  /** Under the root of before, while a rotation is between two. */
  former(): Promise<ServerIdentity | undefined>;
  formerIsDue(): boolean;
}

function ownIdentities({ issuer, account, formerClusterCa, pool, svidTtlMs, clock }: AdsPort): OwnIdentities {
  let held: { readonly root: string; readonly svid: Svid | undefined } | undefined;
  const { namespace, serviceAccount } = account;
  return {
    own: () => issuer.svidFor(namespace, serviceAccount),
    former: async () => {
      const ca = formerClusterCa();
      held = undefined;
      if (ca === undefined) return undefined;
      const request = { namespace, serviceAccount, ttlMs: svidTtlMs, nowMs: clock.now() };
      const issued = await ca.issueSvid(request, pool);
      // a CA that has ended signs nothing: then there is nothing left to fall back on
      held = { root: ca.root, svid: issued.ok ? issued.value : undefined };
      return held.svid;
    },
    formerIsDue: () => {
      if (held?.root !== formerClusterCa()?.root) return true;
      return held?.svid !== undefined && renewalDueMs(held.svid, 0.5) <= clock.now();
    },
  };
}

interface Proving {
  readonly swappable: SwappableCredentials;
  readonly verifiedBy: AdsPortTask["verifiedBy"];
  readonly replace: () => Promise<void>;
  readonly identities: OwnIdentities;
}

/** Until the signal aborts. Costs a look a second while every proxy has verified this port by the root of today. */
async function askForProof(port: AdsPort, proving: Proving, signal: AbortSignal): Promise<void> {
  const { swappable, identities, replace } = proving;
  const { clock, log, onProof } = port;
  const asked = new Map<string, number>();
  let told = 0;
  while (!signal.aborted) {
    if (identities.formerIsDue()) {
      await replace().catch((error: unknown) => log.error("no older certificate for proxies", {}, error));
    }
    const unproven = await unprovenStreams(port, proving);
    if (unproven.length !== told) onProof();
    told = unproven.length;
    const next = unproven.find(({ peer }) => clock.now() - (asked.get(peer.nodeId) ?? 0) >= PROBE_AGAIN_MS);
    if (next !== undefined) {
      asked.set(next.peer.nodeId, clock.now());
      swappable.disconnect(next.address);
    }
    if (unproven.length === 0) asked.clear();
    await clock.sleep(unproven.length === 0 ? IDLE_MS : PROBE_EVERY_MS, signal).catch(() => undefined);
  }
}

/** Those that are known to have verified this port by another root than that of the certificate it shows today. */
async function unprovenStreams(
  { ads, issuer, account }: AdsPort,
  { verifiedBy }: Proving,
): Promise<readonly AdsStream[]> {
  const { root } = await issuer.svidFor(account.namespace, account.serviceAccount);
  return ads.streams().filter((stream) => {
    const proof = verifiedBy(stream);
    return proof !== undefined && proof !== root;
  });
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
