// What is asked as manifests: each kind that can be tried is read, and counts as one of the member's objects.
import { describe, expect, it } from "vitest";
import type { TrialAnswer } from "../../shared/grpc/question-messages.ts";
import { buildIr } from "../ir/build.ts";
import type { MeshInputs } from "../ir/inputs.ts";
import { someInputs } from "../ir/testing/objects.ts";
import { createAnswers } from "./answer.ts";

const udpRoute = {
  apiVersion: "specs.smi-spec.io/v1alpha4",
  kind: "UDPRoute",
  metadata: { namespace: "shop", name: "dns", annotations: { "isthmus.dev/replicate": "east" } },
  spec: { matches: [{ name: "dns", ports: [53] }] },
};
const target = {
  apiVersion: "access.smi-spec.io/v1alpha3",
  kind: "TrafficTarget",
  metadata: { namespace: "shop", name: "dns", annotations: { "isthmus.dev/replicate": "east" } },
  spec: {
    destination: { kind: "ServiceAccount", namespace: "shop", name: "dns" },
    sources: [{ kind: "ServiceAccount", namespace: "shop", name: "web" }],
    rules: [{ kind: "UDPRoute", name: "dns" }],
  },
};
const folder = [udpRoute, target].map((object) => JSON.stringify(object));

function asking(change: Partial<MeshInputs>, udpRoutes: "known" | "unknown" = "known") {
  const inputs = someInputs({ ...(udpRoutes === "known" && { udpRoutes: [] }), ...change });
  const answer = createAnswers(() => ({ inputs, ir: buildIr(inputs).ir }));
  return async (question: Parameters<typeof answer>[0]): Promise<readonly string[]> => {
    const answered = await answer(question);
    const trial: TrialAnswer | undefined = answered.answer === "trial" ? answered.trial : undefined;
    return (trial?.problems ?? []).map(({ code, object }) => `${code} ${object}`);
  };
}

const trial = (objectsJson: readonly string[], remove = false) =>
  ({ question: "trial", trial: { objectsJson, remove, permissive: "" } }) as const;
const notEnforced = "ISTHMUS_UDP_NOT_ENFORCED TrafficTarget shop/dns";
const unresolved = "ISTHMUS_UNRESOLVED_RULE TrafficTarget shop/dns";

describe("a UDPRoute that is tried", () => {
  it("is found by the target that names it, and is said not to be enforced by that alone", async () => {
    expect(await asking({})(trial(folder))).toEqual([notEnforced]);
    expect(await asking({})(trial(folder.slice(1)))).toEqual([notEnforced, unresolved]);
  });

  it("is found by its copy in another member too", async () => {
    const copies = { author: "west", objectsJson: folder, remove: false };
    expect(await asking({})({ question: "copies", copies })).toEqual([notEnforced]);
  });

  it("is missed where it would be taken away", async () => {
    const standing = {
      udpRoutes: [{ namespace: "shop", name: "dns", matches: [] }],
      trafficTargets: [
        {
          ...{ namespace: "shop", name: "dns", sourceClusters: [] },
          ...{ destination: target.spec.destination, sources: target.spec.sources },
          rules: [{ kind: "UDPRoute", name: "dns", matches: [] }],
        },
      ],
    };
    expect(await asking(standing)(trial(folder.slice(0, 1), true))).toEqual([unresolved]);
  });

  it("is left alone where it is not known which ones there are", async () => {
    expect(await asking({}, "unknown")(trial(folder))).toEqual([notEnforced]);
  });
});
