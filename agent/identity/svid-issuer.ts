// One SVID per service account: made on first demand, renewed at half of its life by the wall clock, told to listeners.
// Called by agent/ads (SDS) and the push loop. Keys are made here and live in memory only.
import type { Clock } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import type { SigningPool } from "../../shared/pki/signing-pool.ts";
import { renewalDueMs, type Validity } from "../../shared/pki/template.ts";
import type { ClusterCa, Svid } from "./cluster-ca.ts";

/** A suspended machine's timers stand still while certificates age (Istio #38081): so the clock is asked at least this often. */
const recheckMs = 30_000;
/** A CA that is about to end would else be asked for ever shorter leaves, ever faster. */
const retryMs = 1_000;

export interface Account {
  readonly namespace: string;
  readonly serviceAccount: string;
}

export interface SvidIssuer {
  /** Rejects when the cluster CA cannot sign (it has ended: the hub was away too long). */
  svidFor(namespace: string, serviceAccount: string): Promise<Svid>;
  /** Told after an SVID was replaced. Returns the way to stop listening. */
  onChange(listener: (account: Account) => void): () => void;
  /** Of the one that ends first; undefined: there is none. */
  oldest(): Validity | undefined;
  /** The cluster CA may be another: what an older one signed is made anew at once, not at half of its life. */
  clusterCaChanged(): void;
  /** Forgets, and so no longer renews, every account that is not in use. */
  retain(inUse: Iterable<Account>): void;
  /** Renews until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

export interface SvidIssuerDeps {
  /** The CA to sign with; asked at each use, because it is renewed too. */
  readonly clusterCa: () => ClusterCa;
  readonly pool: SigningPool;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

interface Entry {
  readonly account: Account;
  svid: Promise<Svid>;
  dueMs: number;
  notAfterMs: number;
  validity?: Validity;
  /** Of the CA that signed it. */
  caChainPem: string;
}

export function createSvidIssuer(deps: SvidIssuerDeps): SvidIssuer {
  const entries = new Map<string, Entry>();
  const listeners = new Set<(account: Account) => void>();
  let wake = (): void => undefined;

  const create = (account: Account): Entry => {
    const ca = deps.clusterCa();
    const entry: Entry = {
      account,
      svid: issue(deps, account, ca),
      dueMs: Infinity,
      notAfterMs: 0,
      caChainPem: ca.chainPem,
    };
    entries.set(keyOf(account), entry);
    entry.svid.then(
      (svid) => keep(entry, svid, { ca, deps }),
      () => entries.delete(keyOf(account)), // the caller of svidFor is told; the next one tries again
    );
    return entry;
  };
  const renew = async (entry: Entry): Promise<void> => {
    try {
      const ca = deps.clusterCa();
      const svid = await issue(deps, entry.account, ca);
      if (entries.get(keyOf(entry.account)) !== entry) return; // no longer retained
      keep(entry, svid, { ca, deps });
      for (const listener of listeners) listener(entry.account);
    } catch (error) {
      deps.log.error("SVID renewal failed; the held one stays in use", { ...entry.account }, error);
      entry.dueMs = deps.clock.now() + recheckMs;
      entry.caChainPem = deps.clusterCa().chainPem; // due by time from here on, not again at once
    }
  };
  return {
    svidFor: (namespace, serviceAccount) => {
      const account = { namespace, serviceAccount };
      const held = entries.get(keyOf(account));
      return (held === undefined || hasEnded(held, deps) ? create(account) : held).svid;
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    oldest: () => firstToEnd(entries.values()),
    retain: (inUse) => forgetOthers(entries, new Set(Array.from(inUse, keyOf))),
    clusterCaChanged: () => wake(),
    run: async (signal) => {
      while (!signal.aborted) {
        const woken = new AbortController();
        wake = () => woken.abort();
        // all at once: after a rotation every one is due, and the pool signs on its threads
        await Promise.all([...entries.values()].filter((entry) => isDue(entry, deps)).map(renew));
        const both = AbortSignal.any([signal, woken.signal]);
        await deps.clock.sleep(restMs(entries.values(), deps), both).catch(() => signal.throwIfAborted());
      }
    },
  };
}

function forgetOthers(entries: Map<string, Entry>, wanted: ReadonlySet<string>): void {
  for (const key of entries.keys()) if (!wanted.has(key)) entries.delete(key);
}

function firstToEnd(entries: Iterable<Entry>): Validity | undefined {
  const validities = Array.from(entries, ({ validity }) => validity).filter((each) => each !== undefined);
  return validities.sort((a, b) => a.notAfterMs - b.notAfterMs)[0];
}

function keep(entry: Entry, svid: Svid, by: { readonly ca: ClusterCa; readonly deps: SvidIssuerDeps }): void {
  entry.caChainPem = by.ca.chainPem;
  entry.dueMs = renewalDueMs(svid, by.deps.random());
  entry.notAfterMs = svid.notAfterMs;
  entry.validity = svid;
  entry.svid = Promise.resolve(svid);
}

/** How long nothing is due by time. */
function restMs(entries: Iterable<Entry>, { clock }: SvidIssuerDeps): number {
  const nextMs = Math.min(...Array.from(entries, (entry) => entry.dueMs)) - clock.now();
  return Math.max(retryMs, Math.min(recheckMs, nextMs));
}

/** The renewal loop looks every half minute; a caller after a suspension must not get what ended in between. */
function hasEnded(entry: Entry, { clock }: SvidIssuerDeps): boolean {
  return entry.notAfterMs > 0 && entry.notAfterMs <= clock.now();
}

/** Renewing gains nothing while the CA ends no later than the leaf does; but a leaf of another CA may have lost its root. */
function isDue(entry: Entry, { clock, clusterCa }: SvidIssuerDeps): boolean {
  const { chainPem, validity } = clusterCa();
  return entry.caChainPem !== chainPem || (entry.dueMs <= clock.now() && validity.notAfterMs > entry.notAfterMs);
}

async function issue(deps: SvidIssuerDeps, account: Account, ca: ClusterCa): Promise<Svid> {
  const issued = await ca.issueSvid({ ...account, ttlMs: deps.ttlMs, nowMs: deps.clock.now() }, deps.pool);
  if (issued.ok) return issued.value;
  const reason = issued.error.map((problem) => `${problem.code}: ${problem.message}`).join("; ");
  throw new Error(`no certificate for ${account.namespace}/${account.serviceAccount}: ${reason}`);
}

function keyOf({ namespace, serviceAccount }: Account): string {
  return `${namespace}/${serviceAccount}`;
}
