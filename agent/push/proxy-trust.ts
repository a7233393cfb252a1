// The credential of each proxy as the push loop needs it: at once or not yet. Issuing takes a moment; what is issued is
// kept, and replaced when the issuer or the fleet's roots change. The same object again means that nothing changed.
import type { ProxyClass, ProxyTrust } from "../xds/proxy.ts";

/** Part of agent/identity's SvidIssuer. */
export interface IssuerOfSvids {
  svidFor(namespace: string, serviceAccount: string): Promise<{ readonly chainPem: string; readonly keyPem: string }>;
  onChange(listener: (account: Account) => void): () => void;
}

export interface Account {
  readonly namespace: string;
  readonly serviceAccount: string;
}

export interface ProxyTrustDeps {
  readonly issuer: IssuerOfSvids;
  readonly rootsPem: () => string;
  readonly gateway: Account;
  /** A credential arrived or was replaced: the next push will find it. */
  readonly changed: () => void;
  /** Issuing failed; asked again with the next push. */
  readonly failed: (account: Account, error: unknown) => void;
}

export interface ProxyTrusts {
  trustOf(proxy: ProxyClass): ProxyTrust | undefined;
  /** Accounts that some proxy asked for. */
  accounts(): Iterable<Account>;
}

interface Entry {
  readonly account: Account;
  trust: ProxyTrust | undefined;
  asking: boolean;
}

export function createProxyTrusts(deps: ProxyTrustDeps): ProxyTrusts {
  const entries = new Map<string, Entry>();
  const ask = (entry: Entry) => {
    entry.asking = true;
    deps.issuer
      .svidFor(entry.account.namespace, entry.account.serviceAccount)
      .then(({ chainPem, keyPem }) => {
        entry.trust = { rootsPem: deps.rootsPem(), chainPem, keyPem };
        deps.changed();
      })
      .catch((error: unknown) => deps.failed(entry.account, error))
      .finally(() => {
        entry.asking = false;
      });
  };
  deps.issuer.onChange((account) => {
    const entry = entries.get(keyOf(account));
    if (entry !== undefined) ask(entry);
  });
  return {
    accounts: () => [...entries.values()].map(({ account }) => account),
    trustOf: (proxy) => {
      const account = proxy.kind === "gateway" ? deps.gateway : proxy;
      const entry = entries.get(keyOf(account)) ?? newEntry(entries, account);
      if (entry.trust === undefined) {
        if (!entry.asking) ask(entry);
        return undefined;
      }
      const rootsPem = deps.rootsPem();
      if (entry.trust.rootsPem !== rootsPem) entry.trust = { ...entry.trust, rootsPem };
      return entry.trust;
    },
  };
}

function newEntry(entries: Map<string, Entry>, { namespace, serviceAccount }: Account): Entry {
  const entry: Entry = { account: { namespace, serviceAccount }, trust: undefined, asking: false };
  entries.set(keyOf(entry.account), entry);
  return entry;
}

function keyOf({ namespace, serviceAccount }: Account): string {
  return `${namespace}/${serviceAccount}`;
}
