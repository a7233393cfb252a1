import { expect, test } from "vitest";
import { objectionTo } from "./credential.ts";
import type { Workload } from "./options.ts";
import { factsOf } from "./testing/stand-in.ts";

const facts = factsOf("cart", { inbound: 1, application: 2, httpProxy: 3 });
const workload = { namespace: "shop", name: "cart", serviceAccount: "cart", redirect: false } as Workload;

test.each<[string, Parameters<typeof objectionTo>, string | undefined]>([
  ["a manifest's own is taken", [facts, workload, undefined], undefined],
  ["that of this registration is taken", [{ ...facts, registeredBy: 7 }, workload, 7], undefined],
  [
    "that of a killed process, which is about to go, is not",
    [{ ...facts, registeredBy: 6 }, workload, 7],
    "is of an earlier registration",
  ],
  ["that of an agent which does not say who registered is", [facts, workload, 7], undefined],
  [
    "another account's is not",
    [{ ...facts, serviceAccount: "pay" }, workload, undefined],
    "is for the account pay, not for cart",
  ],
])("a credential: %s", (_what, [found, wanted, registeredBy], objection) => {
  expect(objectionTo(found, wanted, registeredBy)).toBe(objection);
});
