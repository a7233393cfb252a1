import { describe, expect, it } from "vitest";
import { buildIr } from "./build.ts";
import type { AccountInput, TrafficTargetInput } from "./inputs.ts";
import { aTarget, someInputs } from "./testing/objects.ts";

const account = (name: string, namespace = "shop"): AccountInput => ({ namespace, name });
const source = (name: string, namespace = "") => ({ kind: "ServiceAccount", namespace, name });
const target = (change: Partial<TrafficTargetInput>) =>
  aTarget({ destination: source("cart"), sources: [source("frontend")], ...change });

function fieldsSaid(trafficTargets: readonly TrafficTargetInput[], serviceAccounts?: readonly AccountInput[]) {
  const { problems } = buildIr(
    someInputs({ trafficTargets, ...(serviceAccounts === undefined ? {} : { serviceAccounts }) }),
  );
  return problems.filter(({ code }) => code === "ISTHMUS_UNRESOLVED_ACCOUNT").map(({ field }) => field);
}

describe("a TrafficTarget that names a service account", () => {
  it("which exists says nothing, in its own namespace or another", () => {
    const elsewhere = target({ sources: [source("batch", "jobs")] });
    expect(fieldsSaid([elsewhere], [account("cart"), account("batch", "jobs")])).toEqual([]);
  });

  it("which does not exist says which field names nobody", () => {
    const both = target({ sources: [source("frontend"), source("fronted")] });
    expect(fieldsSaid([both], [account("frontend")])).toEqual(["spec.destination.name", "spec.sources[1].name"]);
  });

  it("of other clusters is theirs to know", () => {
    expect(fieldsSaid([target({ sourceClusters: ["east"] })], [account("cart")])).toEqual([]);
  });

  it("is left alone where accounts are not known", () => {
    expect(fieldsSaid([target({})])).toEqual([]);
  });

  it("grants all the same: the account may come later", () => {
    const { ir } = buildIr(someInputs({ trafficTargets: [target({})], serviceAccounts: [] }));
    expect(ir.grants).toEqual(buildIr(someInputs({ trafficTargets: [target({})] })).ir.grants);
  });
});
