import { describe, expect, it, test } from "vitest";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { checkoutRoot } from "../shared/tooling/pack.ts";
import { parseAuditLog, refusedRequests, unusedGrants, type AuditEvent } from "./rbac-audit.ts";
import { grants, type Grant } from "./rbac-table.ts";

const table: readonly Grant[] = [
  {
    ...{ account: "isthmus-agent", scope: "cluster", group: "multicluster.x-k8s.io", resource: "serviceimports" },
    ...{ verbs: ["create", "patch"], usedBy: "agent/kube/service-imports.ts", why: "imports" },
  },
  {
    ...{ account: "isthmus-agent", scope: "system", group: "", resource: "secrets", names: ["isthmus-cluster-ca"] },
    ...{ verbs: ["get"], usedBy: "agent/kube/secret-store.ts", why: "the cluster's CA" },
  },
];
const none = [
  "isthmus-agent cluster create serviceimports.multicluster.x-k8s.io",
  "isthmus-agent cluster patch serviceimports.multicluster.x-k8s.io",
  "isthmus-agent system get secrets isthmus-cluster-ca",
];

function event(verb: string, objectRef: AuditEvent["objectRef"], code: number, account = "isthmus-agent"): AuditEvent {
  const username = `system:serviceaccount:isthmus-system:${account}`;
  return { verb, user: { username }, requestURI: "/x", responseStatus: { code }, ...(objectRef && { objectRef }) };
}
const imports = { apiGroup: "multicluster.x-k8s.io", resource: "serviceimports", namespace: "shop", name: "cart" };
const secret = { resource: "secrets", namespace: "isthmus-system", name: "isthmus-cluster-ca" };

describe("rights that nothing used", () => {
  test.each<[string, readonly AuditEvent[], readonly string[]]>([
    ["all, when nothing was asked", [], none],
    ["those beside an update by apply", [event("patch", imports, 200)], [none[0]!, none[2]!]],
    ["those beside an apply that made the object, which needs both", [event("patch", imports, 201)], [none[2]!]],
    ["not those that were used on a missing object", [event("get", secret, 404)], none.slice(0, 2)],
    ["those that were refused", [event("get", secret, 403)], none],
    ["those that another account used", [event("get", secret, 200, "isthmus-gateway")], none],
    ["those that were used in another namespace", [event("get", { ...secret, namespace: "shop" }, 200)], none],
    ["those that were used for another name", [event("get", { ...secret, name: "other" }, 200)], none],
    ["those of which a subresource was used", [event("patch", { ...imports, subresource: "status" }, 200)], none],
  ])("are %s", (_what, events, unused) => {
    expect(unusedGrants(events, table)).toEqual(unused);
  });

  it("do not name what the table calls rare", () => {
    const rare = { verbs: ["get"], why: "at the first start", coveredBy: "deploy/rbac-audit.test.ts#rare" } as const;
    expect(unusedGrants([], [{ ...table[1]!, rare }])).toEqual([]);
  });
});

test("a refused request is named once, with what the API server said", () => {
  const refused = { ...event("list", secret, 403), responseStatus: { code: 403, message: "no secrets for you" } };
  expect(refusedRequests([refused, refused, event("get", secret, 200)])).toEqual([
    "isthmus-agent list /x: no secrets for you",
  ]);
});

test("a request that admission turned away, as in a namespace that ends, lacked no right", () => {
  const annotations = { "authorization.k8s.io/decision": "allow" };
  const ending = { ...event("create", { resource: "events", namespace: "shop" }, 403), annotations };
  const forbidden = { ...ending, annotations: { "authorization.k8s.io/decision": "forbid" } };
  expect(refusedRequests([ending])).toEqual([]);
  expect(refusedRequests([forbidden])).toHaveLength(1);
});

test("a line that is still being written is left for the next time", () => {
  const line = JSON.stringify(event("get", secret, 200));
  expect(parseAuditLog(`${line}\n${line.slice(0, 20)}`)).toEqual([JSON.parse(line)]);
});

test("what only rare states use is granted, and covered by a test that speaks of it", () => {
  for (const { rare, verbs } of grants) {
    if (rare === undefined) continue;
    expect(verbs).toEqual(expect.arrayContaining([...rare.verbs]));
    const [file = "", title = ""] = rare.coveredBy.split("#");
    expect(readFileSync(join(checkoutRoot, file), "utf8")).toContain(title);
  }
});
