import { describe, expect, it } from "vitest";
import type { TrustDomain } from "../../shared/ids.ts";
import { validFor } from "../../shared/pki/testing/fleet-pki.ts";
import { workloadTemplate } from "../../shared/pki/template.ts";
import { accountNameProblems } from "./account-names.ts";

const trustDomain = "east.acme.mesh" as TrustDomain;
const account = (serviceAccount: string) => ({ namespace: "shop", serviceAccount });

describe("an account's name", () => {
  it.each(["cart", "cart.v2", "a".repeat(63), `${"a".repeat(60)}.${"b".repeat(60)}`])(
    "%s is in the certificate as DNS name",
    (name) => {
      expect(accountNameProblems([account(name)], trustDomain)).toEqual([]);
      const { dnsNames } = workloadTemplate({ trustDomain, ...account(name) }, validFor(1));
      expect(dnsNames).toEqual([`${name}.shop.east.acme.mesh`]);
    },
  );

  it.each([
    ["a label of 64 characters", "a".repeat(64)],
    ["253 characters", `${"a".repeat(50)}.`.repeat(5).slice(0, 252) + "b"],
  ])("with %s has a SPIFFE ID alone, and that is said on the account", (_what, name) => {
    const { uris, dnsNames } = workloadTemplate({ trustDomain, ...account(name) }, validFor(1));
    expect([uris, dnsNames]).toEqual([[`spiffe://east.acme.mesh/ns/shop/sa/${name}`], []]);
    expect(accountNameProblems([account(name)], trustDomain)).toMatchObject([
      { code: "ISTHMUS_ACCOUNT_NAME", object: { kind: "ServiceAccount", namespace: "shop", name } },
    ]);
  });
});
