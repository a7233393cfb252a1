// Accounts whose name passes what DNS allows: they have a SPIFFE ID, but no DNS name in their certificate, which is said instead of
// found out by a client that goes by DNS names. Pure; called by member.ts.
import type { TrustDomain } from "../../shared/ids.ts";
import { workloadDnsName } from "../../shared/pki/template.ts";
import type { Problem } from "../../shared/result.ts";

interface Account {
  readonly namespace: string;
  readonly serviceAccount: string;
}

export function accountNameProblems(accounts: Iterable<Account>, trustDomain: TrustDomain): readonly Problem[] {
  const problems: Problem[] = [];
  for (const { namespace, serviceAccount } of accounts) {
    if (workloadDnsName({ trustDomain, namespace, serviceAccount }) !== undefined) continue;
    problems.push({
      code: "ISTHMUS_ACCOUNT_NAME",
      message: `<account>.<namespace>.${trustDomain} is no DNS name (253 characters, 63 a label): its certificate has none, and only the SPIFFE ID speaks for it; choose a shorter account name`,
      object: { kind: "ServiceAccount", namespace, name: serviceAccount },
    });
  }
  return problems;
}
