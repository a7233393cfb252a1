import { describe, expect, it } from "vitest";
import { explanationText } from "../commands/explain.ts";
import { trialText } from "../commands/policy.ts";
import { parseCaller, parseHeader, parseTarget } from "./call-names.ts";

describe("on the command line", () => {
  it("a caller is member, namespace and account", () => {
    expect(parseCaller("east/shop/web")).toEqual({ member: "east", namespace: "shop", serviceAccount: "web" });
  });

  it.each(["east", "east/shop", "east/shop/web/more", "/shop/web"])("%s is no caller", (text) => {
    expect(() => parseCaller(text)).toThrow(expect.objectContaining({ code: "ISTHMUS_USAGE" }) as Error);
  });

  const rows = [
    { text: "cart.shop", scope: "", port: 0 },
    { text: "cart.shop:8080", scope: "", port: 8080 },
    { text: "cart.shop.svc.cluster.local", scope: "cluster", port: 0 },
    { text: "cart.shop.svc.clusterset.local.:80", scope: "fleet", port: 80 },
  ];
  it.each(rows)("$text is a service", ({ text, scope, port }) => {
    expect(parseTarget(text)).toEqual({ name: "cart", namespace: "shop", scope, port });
  });

  it.each(["cart", "cart.shop:0", "cart.shop:http", "cart.shop.example.org", ".shop"])("%s is no service", (text) => {
    expect(() => parseTarget(text)).toThrow(expect.objectContaining({ code: "ISTHMUS_USAGE" }) as Error);
  });

  it("a header is a name and a value, which may hold colons", () => {
    expect(parseHeader("Role: a:b")).toEqual({ name: "role", value: "a:b" });
    expect(() => parseHeader("role")).toThrow(expect.objectContaining({ code: "ISTHMUS_USAGE" }) as Error);
  });
});

describe("for a reader", () => {
  const finding = { object: "", next: "", account: "" };

  it("an explanation says the verdict first, then who says so and why", () => {
    const text = explanationText({
      from: { member: "east", namespace: "shop", serviceAccount: "web" },
      to: { namespace: "shop", name: "cart", scope: "fleet", port: 80 },
      ...{ method: "GET", path: "/admin", outcome: "refused", protocol: "http", redirect: "" },
      backends: [{ member: "west", accounts: [], ready: 2, total: 3, namespace: "shop", name: "cart", scope: "fleet" }],
      findings: [
        { ...finding, member: "east", side: "caller", outcome: "sent", why: "sent", message: "the sidecar sends it" },
        {
          ...{ ...finding, member: "west", side: "server", outcome: "refused", why: "no-match", account: "shop/cart" },
          message: "no match is for it",
        },
      ],
    });
    expect(text.split("\n")).toEqual([
      "refused: east/shop/web -> cart.shop:80 GET /admin",
      "  answered by west (2 of 3 ready)",
      "  east, caller: the sidecar sends it [sent]",
      "  west, server shop/cart: refused: no match is for it [no-match]",
    ]);
  });

  it("a trial says how many flows change in a member, and each with its object", () => {
    const change = {
      ...{ effect: "cut", caller: "east/shop/web", service: "shop/cart:80", account: "shop/cart" },
      ...{ content: "GET path /items", by: "TrafficTarget shop/cart", beside: "" },
    };
    const text = trialText({ member: "west", unanswered: "", changes: [change], more: 3, problems: [] });
    expect(text.split("\n")).toEqual([
      "west: 0 flows allowed, 1 cut",
      "  CHANGE  CALLER         SERVICE       WHAT             BY",
      "  cut     east/shop/web  shop/cart:80  GET path /items  TrafficTarget shop/cart",
      "  and 3 more",
    ]);
  });
});
